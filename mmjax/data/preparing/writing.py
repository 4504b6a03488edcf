"""Any table -> ArrayRecord shards with the bytes of its files inside, written by several processes.

A shard is whole or not there, so what was stopped goes on where it was; shards that lack broken
rows are written again, as somebody may have mended these. Beside the shards stands what they hold
(records.ABOUT); it is written last.
"""

import concurrent.futures
import dataclasses
import functools
import itertools
import json
import multiprocessing
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from mmjax.data.sources.source import count_broken
from mmjax.data.tables import media, records
from mmjax.data.tables.records import fingerprint
from mmjax.data.tables.table import Table
from mmjax.errors import UserError

PLAN = "plan.json"  # what is being written; gone when all is
ADVICE = "mend them, or see all of them with: python -m mmjax.prepare SRC --check"


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is to be written.

    table: of the rows.
    folder: where.
    files: columns whose cells are paths of files, which go inside.
    root: see media.resolve.
    rows: of a shard.
    """

    table: Table
    folder: Path
    files: tuple[str, ...]
    root: str = ""
    rows: int = 4096

    def shards(self) -> dict[str, range]:
        """The rows of each shard by its name."""
        count = max(1, -(-len(self.table) // self.rows))
        return {
            f"rows-{number:05}-of-{count:05}{records.ENDING}": range(
                number * self.rows, min((number + 1) * self.rows, len(self.table))
            )
            for number in range(count)
        }

    def fingerprint(self) -> str:
        """Another one for other rows or shards."""
        return f"{fingerprint(self.table)}-{self.rows}"


def embedded(plan: Plan, index: int) -> bytes:
    """A row as a record, with the bytes of its files.

    Raises:
        UserError: it is broken, or a file is missing or empty; the line says where.
    """
    table = plan.table
    row, where = table.read(index), table.where(index)
    for name in plan.files:
        if isinstance(row[name], str):
            try:
                value = media.opened(row[name], table.folder(index), plan.root)
            except UserError as error:
                raise UserError(f"{where}: {name!r}: {error}") from error
            try:
                row[name] = value if isinstance(value, bytes) else Path(value).read_bytes()
            except OSError as error:
                raise UserError(f"{where}: {name!r}: {value}: {error.strerror}") from error
    try:
        return records.encode(row, where)
    except (TypeError, ValueError) as error:
        raise UserError(f"{where}: a cell cannot be written ({error})") from error


def write_shard(plan: Plan, name: str, rows: range) -> dict[str, Any]:
    """Writes a shard whole; returns how many rows it has, and index -> error of those left out."""
    from array_record.python.array_record_module import ArrayRecordWriter

    part = plan.folder / f"{name}.part"
    # A group of one row, so that a row is read without others.
    writer = ArrayRecordWriter(str(part), "group_size:1")
    broken: dict[int, str] = {}
    for index in rows:
        try:
            record = embedded(plan, index)
        except UserError as error:
            broken[index] = str(error)
            continue
        writer.write(record)
    writer.close()
    found = {"rows": len(rows) - len(broken), "broken": broken}
    _store(_beside(plan.folder, name), found)  # first, so that a shard is never without it
    part.replace(plan.folder / name)
    return found


def write(
    plan: Plan, processes: int, progress: Callable[[int], None] = lambda _: None
) -> dict[str, Any]:
    """Writes all shards that are not there yet, and what they hold.

    Args:
        plan: what is written.
        processes: that write at once; 1 or less for this one alone.
        progress: is told how many rows are done.

    Returns:
        What stands in records.ABOUT: the columns, the rows of each file, and the broken ones.

    Raises:
        UserError: the folder has other rows, cannot be written, or over 1 % of the rows are broken.
    """
    _begin(plan)
    shards = plan.shards()
    there = {name: _load(_beside(plan.folder, name)) for name in shards if _is_whole(plan, name)}
    done = {name: found for name, found in there.items() if not found["broken"]}
    rows = sum(len(shards[name]) for name in done)
    progress(rows)
    broken: dict[int, str] = {}
    todo = {name: span for name, span in shards.items() if name not in done}
    for name, found in itertools.chain(done.items(), _written(plan, todo, processes)):
        for index, error in found["broken"].items():
            count_broken(
                broken,
                int(index),
                error,
                name=plan.table.name,
                total=len(plan.table),
                advice=ADVICE,
            )
        if name in todo:
            rows += len(shards[name])
            progress(rows)
    about = {
        "columns": list(plan.table.columns),
        "files": {name: _load(_beside(plan.folder, name))["rows"] for name in shards},
        "broken": {str(index): broken[index] for index in sorted(broken)},
        "fingerprint": _load(plan.folder / PLAN)["fingerprint"],
    }
    _store(plan.folder / records.ABOUT, about)
    for name in shards:
        _beside(plan.folder, name).unlink(missing_ok=True)
    (plan.folder / PLAN).unlink()
    return about


def _begin(plan: Plan) -> None:
    """Makes the folder, and takes away what a stop left half written."""
    folder, path = plan.folder, plan.folder / PLAN
    known_by = plan.fingerprint()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / records.ABOUT).exists():
            known = dict(records.about(folder))
            if known.get("fingerprint") != known_by:
                raise UserError(f"{folder} holds other rows: choose a new folder")
            for name, rows in known["files"].items():
                of_shard = {k: v for k, v in known["broken"].items() if _is_in(plan, name, int(k))}
                _store(_beside(folder, name), {"rows": rows, "broken": of_shard})
        elif path.exists():
            if _load(path).get("fingerprint") != known_by:
                raise UserError(f"{folder} holds a part of other rows: choose a new folder")
        elif any(folder.iterdir()):
            raise UserError(f"{folder} is not empty: choose a new folder")
        _store(path, {"fingerprint": known_by})
        for part in folder.glob("*.part"):
            part.unlink()
    except OSError as error:
        raise UserError(f"{folder} cannot be written: {error.strerror}; choose another") from error


def _is_whole(plan: Plan, name: str) -> bool:
    return (plan.folder / name).exists()


def _is_in(plan: Plan, name: str, index: int) -> bool:
    return index in plan.shards()[name]


def _written(
    plan: Plan, todo: Mapping[str, range], processes: int
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each shard as it is finished."""
    if processes <= 1 or len(todo) <= 1:
        for name, rows in todo.items():
            yield name, write_shard(plan, name, rows)
        return
    # Not by fork: this process has threads.
    context = multiprocessing.get_context("spawn")
    write_one = functools.partial(write_shard, plan)
    with concurrent.futures.ProcessPoolExecutor(min(processes, len(todo)), context) as pool:
        waiting = {pool.submit(write_one, name, rows): name for name, rows in todo.items()}
        try:
            for finished in concurrent.futures.as_completed(waiting):
                yield waiting[finished], finished.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _beside(folder: Path, name: str) -> Path:
    return folder / f"{name}.json"


def _store(path: Path, content: Mapping[str, Any]) -> None:
    part = path.with_name(f"{path.name}.part")
    part.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    part.replace(path)


def _load(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path} is damaged ({error}); delete its folder and start again"
        ) from error

"""Whatever somebody has -> a table: by what it is in Python, the ending of a file, and its content.

To add a format, add its record to FORMATS.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mmjax.data.tables import memory
from mmjax.data.tables.files import File, expand, is_remote, name_of
from mmjax.data.tables.folders import Folders
from mmjax.data.tables.jsonl import JsonLines
from mmjax.data.tables.lines import BOM
from mmjax.data.tables.parquet import Parquet
from mmjax.data.tables.records import Records
from mmjax.data.tables.separated import Separated
from mmjax.data.tables.shards import Shard
from mmjax.data.tables.table import Joined, Table
from mmjax.errors import UserError

_TFDS = "dataset_info.json"  # in a folder that TensorFlow Datasets wrote
_HEAD = 1024  # bytes that tell formats apart


class Format(NamedTuple):
    """A format of files.

    endings: of their names, in lower case.
    begins: whether a file with these first bytes is surely one, whatever its name.
    open: a file and the folder of indices -> a table.
    """

    endings: tuple[str, ...]
    begins: Callable[[bytes], bool]
    open: Callable[[File, str], Table]


def _begins_with_object(head: bytes) -> bool:
    return head.removeprefix(BOM).lstrip()[:1] == b"{"


FORMATS: Mapping[str, Format] = {
    "Parquet": Format(
        (".parquet", ".pq"), lambda head: head[:4] == b"PAR1", lambda file, _: Parquet(file)
    ),
    "tar": Format((".tar",), lambda head: head[257:262] == b"ustar", Shard),
    "ArrayRecord": Format((".array_record",), lambda _: False, lambda file, _: Records(file)),
    "JSONL": Format((".jsonl", ".ndjson", ".json"), _begins_with_object, JsonLines),
    "CSV": Format((".csv", ".tsv", ".tab", ".txt"), lambda _: False, Separated),
}
_ENDINGS = {ending: name for name, found in FORMATS.items() for ending in found.endings}


def open_table(data: Any, *, cache: str = "", name: str = "") -> Table:
    """Opens whatever somebody has as one table.

    Args:
        data: a path, pattern or URL, or several of one format (see files.expand), in their order;
            a folder of such files, or of a folder for each class, or several; arrays by name; a
            data frame; a list of dictionaries; or a table.
        cache: a folder where the indices of files are kept; "" for nowhere.
        name: of what is in Python, for messages.

    Raises:
        UserError: it is none of these, or cannot be read.
    """
    if isinstance(data, Table):
        return data
    named = {"name": name} if name else {}
    if isinstance(data, Mapping):
        return memory.Memory(data, **named)
    if hasattr(data, "columns") and hasattr(data, "shape"):
        return memory.of_frame(data, **named)
    if isinstance(data, Sequence) and len(data) and isinstance(data[0], Mapping):
        return memory.of_rows(data, **named)
    if not isinstance(data, (str, Path)) and not (
        isinstance(data, Sequence) and all(isinstance(item, (str, Path)) for item in data)
    ):
        raise UserError(
            f"data of type {type(data).__name__}: give files, arrays by name, a data frame or a"
            " list of dictionaries"
        )
    tables = [_open(paths, cache) for paths in _grouped(expand(data))]
    return tables[0] if len(tables) == 1 else Joined(tables)


def _is_folder(path: str) -> bool:
    return not is_remote(path) and Path(path).is_dir()


def _is_prepared(path: str) -> bool:
    return _is_folder(path) and (Path(path) / _TFDS).is_file()


def _is_folder_of_files(path: str) -> bool:
    return _is_folder(path) and not _is_prepared(path)


def _grouped(paths: Sequence[str]) -> list[list[str]]:
    """Files one by one, folders of classes together, and folders of tables as their files."""
    groups: list[list[str]] = []
    for is_folder, found in itertools.groupby(paths, _is_folder_of_files):
        if not is_folder:
            groups += [[path] for path in found]
            continue
        classes = []
        for path in found:
            inside = _tables_in(path)
            groups += [[file] for file in inside]
            classes += [] if inside else [path]
        groups += [classes] if classes else []
    return groups


def _tables_in(folder: str) -> list[str]:
    """The files of tables that lie in a folder, if there are no folders or other files there."""
    entries = sorted(e for e in Path(folder).iterdir() if not e.name.startswith("."))
    files = [e for e in entries if e.suffix.lower() in _ENDINGS and e.suffix.lower() != ".txt"]
    records = [file for file in files if file.suffix == ".array_record"]
    if records:
        return [str(file) for file in records]
    if any(entry.is_dir() for entry in entries) or not files:
        return []
    endings = {file.suffix.lower() for file in files}
    if len(endings) > 1:
        raise UserError(
            f"{folder} has files of several formats ({', '.join(sorted(endings))}): give a pattern"
            f" such as {folder}/*{min(endings)}"
        )
    return [str(file) for file in files]


def _open(paths: Sequence[str], cache: str) -> Table:
    if _is_prepared(paths[0]):
        return memory.of_tfds(paths[0])
    if _is_folder(paths[0]):
        return Folders(paths)
    file = File(paths[0])
    head = file.read(0, _HEAD)
    ending = next((end for end in _ENDINGS if name_of(file.path).lower().endswith(end)), "")
    sure = next((known for known in FORMATS.values() if known.begins(head)), None)
    if sure is None and not ending:
        raise UserError(
            f"{file.path} is no table: give a file that ends in {', '.join(sorted(_ENDINGS))}, or a"
            " folder"
        )
    if not file.size:
        raise UserError(f"{file.path} is empty (0 bytes): restore it")
    by_name = FORMATS[_ENDINGS[ending]] if ending else None
    # A CSV may begin with a brace, too.
    chosen = by_name if by_name is not None and _fits(by_name, head) else sure or by_name
    return chosen.open(file, cache)


def _fits(known: Format, head: bytes) -> bool:
    others = (f for f in FORMATS.values() if f is not known and f.open is not JsonLines)
    return not any(other.begins(head) for other in others)

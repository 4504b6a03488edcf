"""Writes any table of a user's as records with its files inside, or checks all of it.

mmjax-prepare SRC DST [--processes=N]
mmjax-prepare SRC --check [--report=FILE]
(without installation: python -m mmjax.prepare ...)

SRC is a file (CSV, TSV, JSONL, Parquet, tar shards as WebDataset writes them), a pattern in quotes,
a URL, or a folder with a folder for each class. DST is a new folder: ArrayRecord shards with
pictures, sounds and videos inside, which config.data.files takes as it takes SRC. What was stopped
goes on where it was when the same command is given again. A row that cannot be read is left out
and counted; over 1 % of them is an error.

--check reads and decodes everything once, of a video 64 pictures, and says, with line numbers, what
is broken, missing, duplicated, out of range or of another length than the rest, and how often each
label occurs.
"""

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from absl import flags
from rich.console import Console

from mmjax import cli
from mmjax.data.columns.infer import Column, infer_columns
from mmjax.data.columns.shown import print_columns
from mmjax.data.preparing import checking, shown, writing
from mmjax.data.readers import audio_file, image_file, video_file
from mmjax.data.sources.source import BROKEN_LIMIT
from mmjax.data.tables import media, records
from mmjax.data.tables.opening import open_table
from mmjax.data.tables.table import Table
from mmjax.errors import UserError
from mmjax.train.checkpoints import checksums
from mmjax.train.reporting.counter import Counter


@contextmanager
def _as_path(value: str | bytes) -> Iterator[Path]:
    if isinstance(value, str):
        yield Path(value)
        return
    with tempfile.NamedTemporaryFile() as file:
        file.write(value)
        file.flush()
        yield Path(file.name)


def _decoder(read: Callable[[Path], Any]) -> checking.Decode:
    def decode(value: str | bytes) -> None:
        with _as_path(value) as path:
            read(path)

    return decode


FRAMES = 64  # of each video that --check decodes, spread over its time
DECODERS: Mapping[str, checking.Decode] = {
    media.IMAGE: _decoder(image_file.load),
    media.AUDIO: _decoder(audio_file.read),
    media.VIDEO: _decoder(lambda path: video_file.read(path, FRAMES, (32, 32))),
}


def check(table: Table, columns: Mapping[str, Column], root: str, report: str) -> None:
    """Reads all of a table, and prints and writes what is wrong.

    Raises:
        UserError: over 1 % of the rows are broken.
    """
    console = Console()
    with Counter(console, len(table), "rows") as counter:
        found = checking.check(
            table,
            columns,
            DECODERS,
            root=root,
            threads=os.cpu_count() or 1,
            progress=counter.update,
        )
    shown.print_report(console, found)
    shown.write_report(Path(report), found)
    console.print(f"wrote {report}", highlight=False, markup=False, soft_wrap=True)
    if found.broken > BROKEN_LIMIT * found.rows:
        raise UserError(
            f"{table.name}: {found.broken} of {found.rows} rows are broken, over the limit of"
            f" {BROKEN_LIMIT:.0%}: mend those that {report} lists"
        )


def prepare(
    table: Table, columns: Mapping[str, Column], target: Path, root: str, processes: int
) -> None:
    """Writes all of a table to a folder, and checksums beside it.

    Raises:
        UserError: it cannot be written, or over 1 % of the rows are broken.
    """
    console = Console()
    files = tuple(name for name, column in columns.items() if column.type in media.ENDINGS)
    for name in files:
        if columns[name].problem:
            raise UserError(f"{table.name}: {name!r}: {columns[name].problem}")
    damage = checksums.damage(target)
    if damage:
        raise UserError(f"{target} is damaged: {damage}; delete it and start again")
    plan = writing.Plan(table, target, files, root)
    with Counter(console, len(table), "rows") as counter:
        about = writing.write(plan, processes, counter.update)
    checksums.write(target, [target / name for name in (*about["files"], records.ABOUT)])
    rows = sum(about["files"].values())
    for error in list(about["broken"].values())[:10]:
        console.print(f"left out: {error}", highlight=False, markup=False, soft_wrap=True)
    console.print(
        f"wrote {rows:,} rows to {target}, {len(about['broken']):,} were broken and left out",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )


def make_flags() -> flags.FlagValues:
    """The flags."""
    values = flags.FlagValues()
    flags.DEFINE_bool("check", False, "Read everything once and report.", flag_values=values)
    flags.DEFINE_string("report", "check.jsonl", "Where --check writes.", flag_values=values)
    flags.DEFINE_multi_string(
        "type", [], "What a column is, where the guess is wrong: photo=image.", flag_values=values
    )
    flags.DEFINE_string("root", "", "Where files are that cells name.", flag_values=values)
    flags.DEFINE_integer(
        "processes", os.cpu_count() or 1, "That write at once.", flag_values=values
    )
    return values


def main(argv: Sequence[str]) -> None:
    """Parses the command line and does what it says."""
    values = make_flags()
    paths = [a for a in argv[1:] if not a.startswith("-")]
    cli.parse(values, [argv[0], *(a for a in argv[1:] if a.startswith("-"))])
    wanted = 1 if values.check else 2
    if len(paths) != wanted:
        say = "SRC --check" if values.check else "SRC DST"
        raise UserError(f"give {wanted} path{'s' * (wanted > 1)}: python -m mmjax.prepare {say}")
    types = dict(given.partition("=")[::2] for given in values.type)
    root = os.path.expanduser(values.root)
    table = open_table(paths[0])
    columns = infer_columns(table, types=types, root=root)
    print_columns(Console(), columns, f"{table.name}: {len(table):,} rows")
    if values.check:
        check(table, columns, root, values.report)
    else:
        prepare(table, columns, Path(paths[1]).expanduser(), root, values.processes)


def run() -> None:
    """The command `mmjax-prepare`."""
    cli.run(main, describe=lambda _: cli.flag_lines(make_flags()))


if __name__ == "__main__":
    run()

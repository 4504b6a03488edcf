"""Answers with a model: of one example, or of each row of a file.

mmjax-predict --workdir=DIR --image=a.png --text='what color is the shape?'
mmjax-predict --workdir=DIR --inputs=FILE [--output=FILE] [--on_error=stop|skip]
(without installation: python -m mmjax.predict ...)

DIR is what mmjax.main trained in, or a published checkpoint. Numbers are written in JSON, such as
--chemistry='[1.7, 2.4]' or --table='{"age": 3}', or are the path of a .npy file.

FILE is CSV, TSV, JSONL, Parquet, a tar shard or a folder of these. A model that was trained on a
table reads the same columns as then; others read a column for each input. Paths are relative to the
file, and an empty cell is a missing input.

--output=FILE writes CSV, TSV, JSONL or Parquet, by its ending: the columns of the input, and
"prediction" and "probability"; of several tasks those of each, such as "prediction_color". Several
labels are joined by "|". Embeddings are columns such as "embedding_image", in JSONL or Parquet.
Rows that cannot be answered are named, counted at the end, and have no prediction.

Without --output each row gives a line of JSON, in the same order: what is no input, such as an id,
and inputs that are strings come back, with "answers", or with "embeddings" by a model that answers
nothing. --inputs=- reads JSON lines from stdin.

--on_error=stop ends at the first row that cannot be answered, with exit code 2 and its number,
after the answers of the rows before it. --on_error=skip goes on, and writes JSON lines with an
"error"; they are counted at the end, and the exit code is 0, but 2 if no row could be answered.
"""

import json
import logging
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from mmjax import cli
from mmjax.data.tables.opening import open_table
from mmjax.data.tables.table import Table
from mmjax.data.tables.writing import open_writer
from mmjax.errors import UserError
from mmjax.inference import rows as reading
from mmjax.inference.rows import Row

RESERVED = ("answers", "embeddings", "error")  # what is written in JSON lines
LINES = (".jsonl", ".ndjson")  # files that are read as they come
BOMS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}

_logger = logging.getLogger(__name__)


def read_lines(path: str) -> Iterator[Row]:
    """The lines of a .jsonl file that are not blank, or of stdin for "-".

    Only a line feed ends a line: the other characters that Unicode calls line ends are text.

    Raises:
        UserError: the file cannot be read, or is in UTF-16.
    """
    try:
        with sys.stdin.buffer if path == "-" else Path(path).open("rb") as file:
            yield from _rows(path, file)
    except OSError as error:
        raise UserError(f"--inputs={path} cannot be read: {error}") from error


def _rows(path: str, file: Iterable[bytes]) -> Iterator[Row]:
    folder = "" if path == "-" else os.path.dirname(path)
    for number, line in enumerate(file, 1):
        if number == 1 and line[:2] in BOMS:
            raise UserError(f"--inputs={path} is in {BOMS[line[:2]]}: save it in UTF-8")
        row, error = {}, ""
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            if not text.strip():
                continue
            row = json.loads(text)
        except UnicodeDecodeError as wrong:
            error = f"not UTF-8: {wrong.reason} at byte {wrong.start}"
        except (ValueError, RecursionError) as wrong:
            error = f"not JSON: {wrong}"
        if not isinstance(row, dict):
            row, error = {}, "not an object such as {'image': 'a.png'}; one a line, without [ ]"
        yield Row(f"{path}, line {number}: ", row, error, folder)


def echoed(row: Row, names: Iterable[str]) -> dict[str, Any]:
    """What of a row is written again: not the numbers of its inputs, and no files."""
    return {
        key: value
        for key, value in row.given.items()
        if key not in RESERVED
        and (isinstance(value, (str, type(None))) or key not in names)
        and not isinstance(value, (bytes, np.ndarray))
    }


def write(rows: Iterable[Row], model: Any, top: int | None, skip: bool) -> None:
    """Prints a line for each row, in order; see the module.

    Raises:
        UserError: a row that cannot be answered, unless such rows are skipped; or all of them.
    """
    clash = sorted({*model.modalities} & {*RESERVED})
    if clash:
        raise UserError(f"the model's input {clash[0]!r} has a name of what is written: use Python")
    counts, told = Counts("line", "each has an 'error'"), {*model.modalities}
    names = reading.names_of(model)
    told |= {*names}
    for chunk in reading.chunks(rows):
        for row, result in reading.answer(chunk, model, top, RESERVED):
            _tell(row, told, names)
            if counts.failed(row, result, skip):
                result = {"error": f"{row.place}{result}"}
            print(json.dumps({**echoed(row, model.modalities), **result}), flush=True)
    counts.finish()


class Counts:
    """How many rows there were, and how many could not be answered.

    Args:
        what: one of them is, such as "line".
        left: what is there in place of an answer, for the message.
    """

    def __init__(self, what: str, left: str):
        self.total = self.bad = 0
        self._what, self._left = what, left

    def failed(self, row: Row, result: Any, skip: bool) -> bool:
        """Counts a row; raises its UserError unless such rows are skipped."""
        self.total += 1
        if not isinstance(result, UserError):
            return False
        if not skip:
            raise UserError(f"{row.place}{result}") from result
        self.bad += 1
        return True

    def finish(self) -> None:
        """Says how many could not be answered; raises a UserError if none could."""
        if self.bad:
            line = f"{self.bad} of {self.total} {self._what}s could not be answered; {self._left}"
            if self.bad == self.total:
                raise UserError(line)
            _logger.warning("mmjax: %s", line)


def write_table(table: Table, path: str, model: Any, top: int | None, skip: bool) -> None:
    """Writes the rows of a table with what a model says of them, a chunk at a time.

    Args:
        table: any.
        path: of the new file; its ending says the format.
        model: a Predictor or Published.
        top: how many answers at most.
        skip: whether rows that cannot be answered are left empty, or end it.

    Raises:
        UserError: see `write`, and `open_writer`.
        Interrupted: after a signal; what is written is whole rows.
    """
    from rich.console import Console

    from mmjax.train.host.signals import Interrupts
    from mmjax.train.reporting.counter import Counter

    types, cells = model.outputs
    taken = [name for name in types if name in table.columns]
    if taken:
        raise UserError(f"{table.name}: {taken[0]!r} is a name of what is written: rename it")
    rows = reading.of_table(table, model)
    counts = Counts("row", "they have no prediction")
    with (
        Interrupts() as interrupts,
        open_writer(path, (*table.columns, *types), types) as file,
        Counter(Console(stderr=True), len(table), "rows") as counter,
    ):
        interrupts.defer()
        for chunk in reading.chunks(rows):
            done = []
            try:
                for row, result in reading.answer(chunk, model, top):
                    if counts.failed(row, result, skip):
                        _logger.warning("mmjax: %s%s", row.place, result)
                    said = {} if isinstance(result, UserError) else cells(result)
                    done.append({**row.given, **said})
            finally:
                file.write(done)
            counter.update(counts.total)
            if interrupts.stops():
                interrupts.raise_at_once()
    counts.finish()


def _tell(row: Row, told: set[str], names: tuple[str, ...]) -> None:
    # What such a key holds is not used: it may be a slip of the pen.
    for key in row.given.keys() - told:
        told.add(key)
        hint = cli.nearest(key, [name for name in names if name not in row.given])
        if "did you mean" in hint:
            _logger.warning("mmjax: %s%r is no input and only copied; %s", row.place, key, hint)


def own_inputs(values: flags.FlagValues, argv: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """The command line without --NAME=VALUE of names that are no flags, and these: the inputs."""
    known, inputs = [], {}
    for argument in argv:
        name, equals, value = argument.lstrip("-").partition("=")
        is_input = argument.startswith("--") and equals and name.isidentifier()
        if is_input and name not in values and name.removeprefix("no") not in values:
            inputs[name] = value
        else:
            known.append(argument)
    return known, inputs


def make_flags() -> flags.FlagValues:
    """The flags."""
    values = flags.FlagValues()
    flags.DEFINE_string("workdir", None, "What mmjax.main trained in.", flag_values=values)
    flags.DEFINE_string("inputs", None, "A file of rows, or - for stdin.", flag_values=values)
    flags.DEFINE_string("output", None, "CSV, TSV, JSONL or Parquet.", flag_values=values)
    flags.DEFINE_enum(
        "on_error", "stop", ["stop", "skip"], "What a bad row does.", flag_values=values
    )
    flags.DEFINE_integer("top", None, "How many answers.", lower_bound=1, flag_values=values)
    return values


def main(argv: list[str]) -> None:
    """Parses the command line, loads the model and prints the answers."""
    values = make_flags()
    rest, single = own_inputs(values, argv)
    cli.parse(values, rest)
    cli.require(values, "workdir")
    if bool(single) == bool(values.inputs):
        raise UserError("give either inputs by name, such as --image=a.png, or --inputs=FILE.jsonl")
    path, output = values.inputs, values.output
    if output and (not path or path == "-"):
        raise UserError("--output is for the rows of a file: give --inputs=FILE")
    table = _table(path, output)
    if path and path != "-" and table is None:
        next(read_lines(path), None)  # what cannot be read is said before a model is loaded

    from mmjax import factory
    from mmjax.inference import loading

    model = loading.load(values.workdir)
    for name in single:
        known = dict.fromkeys((*model.modalities, *reading.names_of(model)))
        factory.lookup(known, name, "predict: input")
    skip = values.on_error == "skip"
    if output:
        write_table(table, output, model, values.top, skip)
        return
    lines = [Row("", single)] if not path else read_lines(path)
    rows = lines if table is None else reading.of_table(table, model)
    write(rows, model, values.top, skip)


def _table(path: str | None, output: str | None) -> Table | None:
    """The table of a file; None for what is read line by line, or not at all.

    Raises:
        UserError: it cannot be read, or would be written over.
    """
    if not path or path == "-" or (not output and path.lower().endswith(LINES)):
        return None
    both = output and os.path.exists(output) and os.path.exists(path)
    if both and os.path.samefile(path, output):
        raise UserError(f"--output={output} is the file of --inputs: choose another")
    return open_table(path)


def run() -> None:
    """The command `mmjax-predict`."""
    cli.run(main, describe=lambda _: cli.flag_lines(make_flags()))


if __name__ == "__main__":
    run()

"""Answers with a model, one JSON object a line.

mmjax-predict --workdir=DIR --image=a.png --text='what color is the shape?'
mmjax-predict --workdir=DIR --inputs=FILE.jsonl [--on_error=stop|skip]
(without installation: python -m mmjax.predict ...)

DIR is what mmjax.main trained in, or a published checkpoint. A line of the file, in UTF-8, is an
object such as {"image": "a.png", "text": "is there a circle?", "id": 7}. Paths are relative to the
file; null is a missing input. Each gives a line, in the same order: what is no input, such as the
id, and inputs that are strings come back, with "answers", or with "embeddings" by a model that
answers nothing.

--on_error=stop ends at the first line that cannot be answered, with exit code 2 and its number,
after the answers of the lines before it. --on_error=skip writes that line with an "error" and goes
on; they are counted at the end, and the exit code is 0, but 2 if no line could be answered.
"""

import itertools
import json
import logging
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from absl import flags

from mmjax import cli
from mmjax.errors import UserError

CHUNK = 256  # lines answered at once
RESERVED = ("answers", "embeddings", "error")  # what is written
BOMS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}

_logger = logging.getLogger(__name__)


class Row(NamedTuple):
    """A line of the inputs.

    place: "FILE, line 3: ", for messages; "" for the command line.
    given: the object; {} where the line is none.
    error: why it is none, if it is.
    """

    place: str
    given: dict[str, Any]
    error: str = ""


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
        yield Row(f"{path}, line {number}: ", row, error)


def check_row(row: Row, model: Any) -> None:
    """Raises a UserError for a row that is none, has no input, or has a reserved key."""
    names = model.modalities
    if row.error:
        raise UserError(row.error)
    taken = [key for key in row.given if key in RESERVED]
    if taken:
        raise UserError(f"{taken[0]!r} is a name of what is written: rename it")
    if all(row.given.get(name) is None for name in names):
        hint = cli.nearest(next((key for key in row.given if key not in names), ""), names)
        raise UserError(f"nothing to predict from: give {' or '.join(names)}; {hint}")


def answer(rows: list[Row], model: Any, folder: Path | None, top: int | None) -> Iterator[tuple]:
    """Each row with what the model says of it, a dict, or with the UserError that it met.

    Args:
        rows: some.
        model: a Predictor or Published.
        folder: what paths are relative to; None for the current directory.
        top: how many answers.
    """
    found: list[dict | UserError | None] = [_error(check_row, row, model) for row in rows]
    given = [_inputs(row.given, model, folder) for row in rows]

    def run() -> None:
        places = [i for i, result in enumerate(found) if result is None]
        results = model.respond([given[i] for i in places], top=top) if places else ()
        for i, result in zip(places, results, strict=True):
            found[i] = result

    try:
        run()
    except UserError:
        for i, result in enumerate(found):
            found[i] = _error(model.check, given[i]) if result is None else result
        run()  # what is wrong with all of them is raised again
    yield from zip(rows, found, strict=True)


def _error(function: Any, *arguments: Any) -> UserError | None:
    try:
        function(*arguments)
    except UserError as error:
        return error
    return None


def _inputs(row: Mapping[str, Any], model: Any, folder: Path | None) -> dict[str, Any]:
    inputs = {name: row.get(name) for name in model.modalities}
    for name in model.files:
        if folder is not None and isinstance(inputs[name], str):
            inputs[name] = str(folder / inputs[name])
    return inputs


def echoed(row: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """What of a row is written again: not the numbers of its inputs."""
    return {k: v for k, v in row.items() if k not in names or isinstance(v, (str, type(None)))}


def write(
    rows: Iterable[Row], model: Any, folder: Path | None, top: int | None, skip: bool
) -> None:
    """Prints a line for each row, in order; see the module.

    Raises:
        UserError: a row that cannot be answered, unless such rows are skipped; or all of them.
    """
    clash = sorted({*model.modalities} & {*RESERVED})
    if clash:
        raise UserError(f"the model's input {clash[0]!r} has a name of what is written: use Python")
    failed, total, told = 0, 0, set(model.modalities)
    rows = iter(rows)
    while chunk := list(itertools.islice(rows, CHUNK)):
        for row, result in answer(chunk, model, folder, top):
            total += 1
            _tell(row, told, model.modalities)
            if isinstance(result, UserError) and not skip:
                raise UserError(f"{row.place}{result}") from result
            if isinstance(result, UserError):
                failed += 1
                result = {"error": f"{row.place}{result}"}
            kept = {k: v for k, v in row.given.items() if k not in RESERVED}
            print(json.dumps({**echoed(kept, model.modalities), **result}), flush=True)
    if failed:
        line = f"{failed} of {total} lines could not be answered; each has an 'error'"
        if failed == total:
            raise UserError(line)
        _logger.warning("mmjax: %s", line)


def _tell(row: Row, told: set[str], names: tuple[str, ...]) -> None:
    # What such a key holds is not used: it may be a slip of the pen.
    for key in row.given.keys() - told:
        told.add(key)
        hint = cli.nearest(key, names)
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
    flags.DEFINE_string("inputs", None, "A .jsonl file, or - for stdin.", flag_values=values)
    flags.DEFINE_enum(
        "on_error", "stop", ["stop", "skip"], "What a bad line does.", flag_values=values
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
    path = values.inputs
    if path not in (None, "-"):
        next(read_lines(path), None)  # what cannot be read is said before a model is loaded

    from mmjax import factory
    from mmjax.inference import loading

    model = loading.load(values.workdir)
    for name in single:
        factory.lookup(dict.fromkeys(model.modalities), name, "predict: input")
    folder = Path(path).parent if path not in (None, "-") else None
    rows = read_lines(path) if path else [Row("", single)]
    write(rows, model, folder, values.top, values.on_error == "skip")


def run() -> None:
    """The command `mmjax-predict`."""
    cli.run(main, describe=lambda _: cli.flag_lines(make_flags()))


if __name__ == "__main__":
    run()

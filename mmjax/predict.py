"""Answers with a trained model, one JSON object a line.

python -m mmjax.predict --workdir=DIR --image=a.png --text='what color is the shape?'
python -m mmjax.predict --workdir=DIR --inputs=FILE.jsonl

A line of the file is an object such as {"image": "a.png", "text": "is there a circle?"}.
"""

import json
import sys
from pathlib import Path

from absl import flags

from mmjax import cli
from mmjax.types import UserError

CHUNK = 256  # lines answered at once
FILES = ("image", "speech")  # inputs whose strings are paths


def read_lines(path: str) -> list[dict]:
    """The inputs of a .jsonl file; paths in it are relative to the file.

    Raises:
        UserError: it cannot be read, or a line of it is not a JSON object.
    """
    try:
        text = sys.stdin.read() if path == "-" else Path(path).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--inputs={path} cannot be read: {error}") from error
    rows = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path}, line {number}: not JSON: {error}") from error
        if not isinstance(row, dict):
            raise UserError(f"{path}, line {number}: not an object such as {{'image': 'a.png'}}")
        for name in FILES:
            if path != "-" and isinstance(row.get(name), str):
                row[name] = str(Path(path).parent / row[name])
        rows.append(row)
    return rows


def main(argv: list[str]) -> None:
    """Parses the command line, loads the model and prints the answers."""
    values = flags.FlagValues()
    flags.DEFINE_string("workdir", None, "What mmjax.main trained in.", flag_values=values)
    flags.DEFINE_string("image", None, "An image file.", flag_values=values)
    flags.DEFINE_string("speech", None, "A sound file.", flag_values=values)
    flags.DEFINE_string("text", None, "A text, such as a question.", flag_values=values)
    flags.DEFINE_string("inputs", None, "A .jsonl file, or - for stdin.", flag_values=values)
    flags.DEFINE_integer("top", None, "How many answers.", lower_bound=1, flag_values=values)
    cli.parse(values, argv)
    cli.require(values, "workdir")
    single = {k: values[k].value for k in (*FILES, "text") if values[k].value is not None}
    if bool(single) == bool(values.inputs):
        raise UserError("give either some of --image, --speech and --text, or --inputs")
    rows = read_lines(values.inputs) if values.inputs else [single]

    from mmjax import build, predictor

    model = predictor.load(values.workdir)
    for number, row in enumerate(rows, 1):
        if not any(row.get(name) is not None for name in model.modalities):
            raise UserError(f"input {number} is empty; give {' or '.join(model.modalities)}")
        for key in row:
            build.lookup(dict.fromkeys(model.modalities), key, "predict: input")
    for i in range(0, len(rows), CHUNK):
        chunk = rows[i : i + CHUNK]
        inputs = {name: [row.get(name) for row in chunk] for name in model.modalities}
        for row, answers in zip(chunk, model(top=values.top, **inputs), strict=True):
            print(json.dumps({**row, "answers": answers}), flush=True)


if __name__ == "__main__":
    cli.run(main)

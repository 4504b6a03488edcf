"""Converts a published model, or what was trained in a workdir, and looks into files.

mmjax-convert SRC DST --to=safetensors|mmjax|npz [--encoder=NAME]
mmjax-convert SRC --inspect
(without installation: python -m mmjax.convert ...)

SRC is a directory or file of another library, what this command wrote, or a workdir of mmjax.main.
DST is a new directory: "safetensors" is for the original library, "mmjax" and "npz" hold our
parameters by path; mmjax loads all three.

Of a workdir, config.model and pretrained encoders (--encoder says which) go back to their library.
An encoder that was trained from nothing is written by path, for mmjax.pretrained(DST); without one
of the others, or with --to=mmjax, so is the whole model, for mmjax.load(DST).
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from absl import flags

from mmjax import cli
from mmjax.errors import UserError

TARGETS = ("safetensors", "mmjax", "npz")


def inspect(source: Path) -> None:
    """Prints the tensors of a file as a table."""
    from rich.console import Console
    from rich.table import Table

    from mmjax import interop

    checkpoint = interop.open_checkpoint(source)
    table = Table("tensor", "shape", "type", "parameters")
    total = 0
    for name, tensor in checkpoint.weights.items():
        size = int(np.prod(tensor.shape, dtype=np.int64))
        shape = " x ".join(map(str, tensor.shape)) or "one"
        table.add_row(name, shape, str(tensor.dtype), f"{size:,}")
        total += size
    console = Console(soft_wrap=True)
    console.print(table)
    architecture = interop.architecture_name(checkpoint)
    said = (
        "of no architecture that mmjax loads"
        if architecture is None
        else f"architecture {architecture}"
    )
    console.print(f"{len(checkpoint.weights)} tensors, {total:,} parameters, {said}")


def convert(source: Path, target: Path, kind: str, encoder: str | None) -> None:
    """Writes `target`; see the documentation of this module."""
    from mmjax import factory, interop
    from mmjax.factory.checkpoints.export import export
    from mmjax.inference import loading
    from mmjax.interop.weights import mmjax_format

    factory.lookup(dict.fromkeys(TARGETS), kind, "--to")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UserError(f"{target} is there already: choose a new directory")
    if loading.is_workdir(source):
        factory.lookup(dict.fromkeys(TARGETS), kind, "--to")
        config, model = loading.read_config(source), loading.load(source)
        cli.make_directory(target, "DST")
        try:
            notes = export(config, source, model.variables, encoder, kind, target)
        except UserError:
            if not any(target.iterdir()):
                target.rmdir()  # so that the same line, corrected, finds it new
            raise
        print("\n".join([f"wrote {target}", *notes]))
        return
    if encoder:
        raise UserError(f"--encoder is for workdirs, which {source} is not")
    model = interop.load(source)
    cli.make_directory(target, "DST")
    if kind == "safetensors":
        file = interop.save(model, target)
    else:
        file = mmjax_format.write(model.checkpoint, model.variables, target, kind)
    print(f"{model.report}\nwrote {file}")


def make_flags() -> flags.FlagValues:
    """The flags."""
    values = flags.FlagValues()
    flags.DEFINE_string("to", None, "One of safetensors, mmjax and npz.", flag_values=values)
    flags.DEFINE_string("encoder", None, "Of a workdir, its modality.", flag_values=values)
    flags.DEFINE_bool("inspect", False, "Print what is in SRC.", flag_values=values)
    return values


def main(argv: Sequence[str]) -> None:
    """Parses the command line and does what it says."""
    values = make_flags()
    paths = [Path(a).expanduser() for a in argv[1:] if not a.startswith("-")]
    cli.parse(values, [argv[0], *(a for a in argv[1:] if a.startswith("-"))])
    if values.inspect:
        if len(paths) != 1:
            raise UserError("--inspect takes one path: python -m mmjax.convert SRC --inspect")
        inspect(paths[0])
        return
    if len(paths) != 2:
        raise UserError("give two paths: python -m mmjax.convert SRC DST --to=safetensors")
    cli.require(values, "to")
    convert(*paths, values.to, values.encoder)


def run() -> None:
    """The command `mmjax-convert`."""
    cli.run(main, describe=lambda _: cli.flag_lines(make_flags()))


if __name__ == "__main__":
    run()

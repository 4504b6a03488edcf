"""Trains and tests what a config describes.

python -m mmjax.main --config=configs/NAME.py[:VARIANT] --workdir=DIR [--config.KEY=VALUE ...]
                     [--mode=train|eval] [--quiet | --verbose]

--quiet prints nothing but warnings and errors; --verbose prints every line of the log, too.
"""

from absl import flags

from mmjax import cli
from mmjax.types import UserError


def main(argv: list[str]) -> None:
    """Parses the command line, builds the experiment, and trains or tests it."""
    values = flags.FlagValues()
    flags.DEFINE_string("workdir", None, "Where everything goes.", flag_values=values)
    flags.DEFINE_enum("mode", "train", ["train", "eval"], "What to do.", flag_values=values)
    flags.DEFINE_bool("quiet", False, "Warnings and errors only.", flag_values=values)
    flags.DEFINE_bool("verbose", False, "Every line of the log, too.", flag_values=values)
    cli.parse_with_config(values, argv)
    cli.require(values, "workdir")
    if values.quiet and values.verbose:
        raise UserError("--quiet and --verbose: choose one of them")
    cli.prepare_devices()

    from rich.console import Console

    from mmjax import build
    from mmjax.train import run
    from mmjax.train.interrupt import Interrupts

    console = Console(quiet=values.quiet)
    with Interrupts() as interrupts:
        cli.use_compilation_cache(values.config.compilation_cache)
        directory, experiment = build.experiment(values.config, values.workdir)
        if values.mode == "eval":
            run.test(experiment, directory, console)
        else:
            run.train(experiment, directory, console, interrupts, verbose=values.verbose)


if __name__ == "__main__":
    cli.run(main)

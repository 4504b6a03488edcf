"""Trains and tests what a config describes.

mmjax --config=NAME[:VARIANT] --workdir=DIR [--config.KEY=VALUE ...] [--mode=train|eval]
      [--quiet | --verbose] [--distributed=HOST:PORT,N,RANK | --distributed=off]
      (without installation: python -m mmjax.main ...)

NAME is a recipe that comes with mmjax, such as vqa, or a path such as configs/vqa.py.

Without --config the run of the workdir goes on, or is tested, with its own config. A key may be any
of the config's, or any option of a part that it names, such as --config.fusion.dropout=0.1;
--config.fusion=concat takes another part with none of the old one's options.

--print_config prints the whole config with its defaults, as a file that --config reads again, and
starts nothing. --quiet prints nothing but warnings and errors; --verbose prints every line of the
log, too.

On a cluster that jax knows (Cloud TPU, GKE, SLURM, Open MPI) the processes of a job find each
other; elsewhere start N of them, each with --distributed=HOST:PORT,N,RANK, where HOST:PORT is of
the machine of RANK 0, and free there.
"""

from pathlib import Path

from absl import flags

from mmjax import cli
from mmjax.errors import UserError


def make_flags() -> flags.FlagValues:
    """The flags besides --config and --config.KEY."""
    values = flags.FlagValues()
    flags.DEFINE_string("workdir", None, "Where everything goes.", flag_values=values)
    flags.DEFINE_enum("mode", "train", ["train", "eval"], "What to do.", flag_values=values)
    flags.DEFINE_bool("print_config", False, "Print the config, and stop.", flag_values=values)
    flags.DEFINE_bool("quiet", False, "Warnings and errors only.", flag_values=values)
    flags.DEFINE_bool("verbose", False, "Every line of the log, too.", flag_values=values)
    flags.DEFINE_string(
        "distributed", None, "HOST:PORT,N,RANK of N processes, or off.", flag_values=values
    )
    return values


def main(argv: list[str]) -> None:
    """Parses the command line, builds the experiment, and trains or tests it."""
    values = make_flags()
    given = cli.config_arguments(argv)
    cli.parse(values, given.rest)
    if values.quiet and values.verbose:
        raise UserError("--quiet and --verbose: choose one of them")
    if not values.print_config:
        cli.require_packages()
    cli.prepare_devices()
    if not values.print_config:
        cli.join(values.distributed)

    from rich.console import Console

    from mmjax import factory
    from mmjax.factory.config import show
    from mmjax.train import run
    from mmjax.train.checkpoints import workdir
    from mmjax.train.host.together import interrupts as catching

    if given.file:
        config = cli.load_config(given.file)
        if not values.print_config:
            cli.require(values, "workdir")
    elif values.workdir and workdir.has_config(values.workdir):
        config = factory.stored_config(Path(values.workdir))
    else:
        raise UserError("no --config; try --config=vqa, or name the --workdir of a run")
    console = Console(quiet=values.quiet)
    config = factory.overridden(config, given.keys)
    tests = values.mode == "eval"
    if config.get("data", {}).get("folds") and not values.print_config:
        from mmjax.inference import folds

        with catching() as interrupts:
            folds.cross_validate(
                *(config, values.workdir, console, interrupts),
                only_test=tests,
                verbose=values.verbose,
            )
        return
    config, data = factory.filled(config, console)
    config = factory.checked(config)
    if values.print_config:
        print(show.as_python(config, f"{given.file or values.workdir} with all defaults."), end="")
        return
    if tests:
        workdir.check_trained(values.workdir)
    with catching() as interrupts:
        cli.use_compilation_cache(config.compilation_cache)
        directory, experiment = factory.experiment(
            config, values.workdir, only_test=tests, data=data
        )
        if tests:
            run.test(experiment, directory, console, interrupts)
        else:
            run.train(experiment, directory, console, interrupts, verbose=values.verbose)


def describe_topic(topic: str) -> str:
    """What --help=TOPIC prints: of "" the flags and keys."""
    from mmjax.factory.config.help import describe

    return (f"{cli.flag_lines(make_flags())}\n\n" if not topic else "") + describe(topic)


def run() -> None:
    """The command `mmjax`."""
    cli.run(main, describe=describe_topic)


if __name__ == "__main__":
    run()

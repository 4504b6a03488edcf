"""What a run starts from, or goes on from with another config, and the lines that say so."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from flax.traverse_util import flatten_dict, unflatten_dict
from ml_collections import ConfigDict

from mmjax.errors import UserError
from mmjax.factory.checkpoints import delta, teachers, warm_start
from mmjax.factory.config.typed import plain
from mmjax.factory.make_training import rates
from mmjax.train.checkpoints import changes, workdir


def check_source(config: ConfigDict, path: Path) -> None:
    """Raises a UserError if a run that begins has nothing to begin from at config.init_from, or
    teachers that it cannot learn from."""
    source = config.init_from
    if not (source or config.teachers) or workdir.has_checkpoints(path):
        return
    teachers.check(config)
    if not source:
        return
    if config.train.delta_checkpoints:
        raise UserError(
            "config.init_from with config.train.delta_checkpoints: checkpoints would leave out"
            " what was taken; set config.train.delta_checkpoints to False"
        )
    there = Path(source).expanduser()
    if not there.exists():
        raise UserError(f"config.init_from={source}: there is no such workdir or checkpoint")
    labelled = (there / workdir.LABELS_FILE).is_file()
    if labelled and not workdir.has_checkpoints(there) and not any(there.glob("*.safetensors")):
        raise UserError(f"config.init_from={source}: nothing was trained in it yet")


def first_variables(
    config: ConfigDict,
    path: Path,
    make: Callable[..., Any],
    example: Any,
    reads_words: bool,
) -> tuple[dict[str, Any], list[str]]:
    """What a run starts with instead of drawn values, and lines that say where it came from.

    `config.init_from` comes before the checkpoints of pretrained encoders, and before all of them
    what `config.teachers` says of the teachers.

    Args:
        config, path: of the run, and its workdir.
        make, example: see `warm_start.taken`.
        reads_words: whether the model has a vocabulary of its own.

    Raises:
        UserError: nothing in `config.init_from` fits.
    """
    tree, notes = delta.first_variables(config, path)
    found = flatten_dict(tree)
    if config.init_from:
        names = warm_start.names_in(path, reads_words=reads_words)
        warm, said = warm_start.taken(config, make, example, names)
        found, notes = found | flatten_dict(warm), [*notes, *said]
    taught, said = teachers.first_variables(config, path)
    return unflatten_dict(found | taught), [*notes, *said]


def notes_on(config: ConfigDict, path: Path, found: Sequence[changes.Change]) -> tuple[str, ...]:
    """Lines that say how the config of a run has changed, and what that makes its learning rate.

    The learning rate is a function of the step and of the whole schedule, past and to come. So the
    run goes on with the rate of the new schedule at its step, not with one that starts anew.
    """
    notes = [f"config.{c.key} is now {c.now!r} and was {c.before!r}" for c in found]
    timed = [change for change in found if change.key in changes.SCHEDULED]
    if timed:
        old = plain(config)
        for change in timed:
            group, _, key = change.key.partition(".")
            old[group][key] = change.before
            if change.before is None:
                del old[group][key]
        step = workdir.newest_step(path)
        was, rate = (
            float(rates(c)(step // c.optimizer.accumulate)) for c in (ConfigDict(old), config)
        )
        notes.append(
            f"the learning rate follows the whole new schedule of {config.train.steps} steps: from"
            f" step {step} on it is {rate:.3g}, where it was {was:.3g}"
        )
    return tuple(notes)

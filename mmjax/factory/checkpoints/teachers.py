"""config.teachers -> encoders of other runs, which stay as they are and are learned from.

The teacher of a modality is an encoder as config.encoders has it, trained in another workdir. It
puts out "teacher/NAME"; a loss such as `feature_distillation` compares that with "encoder/NAME".
Checkpoints hold it: once a run has begun, the other workdir is not needed any more.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from mmjax.data.pipeline import scaling, tokenizer
from mmjax.errors import UserError
from mmjax.factory.checkpoints import warm_start
from mmjax.factory.config.stored import stored_config
from mmjax.factory.config.typed import plain
from mmjax.factory.make_model import TEACHERS, teachers, texts
from mmjax.train.checkpoints import workdir


def check(config: ConfigDict) -> None:
    """Raises a UserError for a teacher that is not there or is no encoder as config.encoders says,
    or for what does not go with teachers.

    Equal shapes would not tell: another activation or sample rate has the same.
    """
    if teachers(config) and config.decision:
        raise UserError(f"config.decision with {TEACHERS}: its model has no teachers; keep one")
    if teachers(config) and config.tuning.name != "full":
        raise UserError(
            f"config.tuning={config.tuning.name!r} would tune the encoders of {TEACHERS}, too:"
            " leave one out"
        )
    for name, given in teachers(config).items():
        path, where = Path(given).expanduser(), f"{TEACHERS}.{name}={given}"
        if not (workdir.has_config(path) and workdir.has_checkpoints(path)):
            raise UserError(f"{where}: it is no workdir in which something was trained")
        other = stored_config(path)
        if name not in other.modalities:
            known = ", ".join(other.modalities)
            raise UserError(f"{where}: it has no encoder of {name!r}; it has {known}")
        for key, of in _ENCODER.items():
            there, here = of(other, name), of(config, name)
            if there != here:
                raise UserError(
                    f"{where}: config.{key.format(name)} is {there!r} there and {here!r} here: make"
                    " them equal"
                )


# What makes an encoder what it is, by config key: (config, modality) -> its value.
_ENCODER: dict[str, Callable[[ConfigDict, str], Any]] = {
    "encoders.{}": lambda config, name: plain(config.encoders.get(name)),
    "width": lambda config, _: config.get("width"),
}


def first_variables(config: ConfigDict, path: Path) -> tuple[warm_start.Flat, list[str]]:
    """The variables of the teachers, flat, and lines that say where they came from.

    Args:
        config: of the run that starts.
        path: its workdir.

    Raises:
        UserError: a teacher has seen other words, or features on another scale.
    """
    found: warm_start.Flat = {}
    notes = []
    for name, given in teachers(config).items():
        there, where = Path(given).expanduser(), f"{TEACHERS}.{name}"
        for file, of in ((workdir.TOKENIZER_FILE, _words), (workdir.SCALES_FILE, _scale)):
            if of(config, there, name) != of(config, path, name):
                raise UserError(
                    f"{where}={given}: its {file} is not that of this run, so it would read"
                    " something else; train it on the same data"
                )
        variables, step = warm_start.trained(there, where)
        own = {
            (collection, f"teachers_{name}", *rest): value
            for (collection, part, *rest), value in variables.items()
            if part == f"encoders_{name}"
        }
        found |= own
        notes.append(f"teacher of {name} from {there} (step {step}): {len(own)} arrays")
    return found, notes


def _words(config: ConfigDict, path: Path, name: str) -> Any:
    file = path / workdir.TOKENIZER_FILE
    return tokenizer.words(tokenizer.load(file)) if name in texts(config) and file.exists() else ()


def _scale(config: ConfigDict, path: Path, name: str) -> Any:
    del config
    scale = scaling.read(path / workdir.SCALES_FILE).get(name)
    return None if scale is None else [array.tolist() for array in scale]

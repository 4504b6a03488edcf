"""A workdir -> the model that was trained in it, with its variables."""

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
from ml_collections import ConfigDict

from mmjax.build import frozen_base, pretrained
from mmjax.build.check import checked
from mmjax.build.make_model import as_config, example_inputs, modalities
from mmjax.build.tuning import model, trains
from mmjax.data import tokenizer
from mmjax.train import workdir as workdirs
from mmjax.train.checkpoint import Checkpoints
from mmjax.train.partition import to_restore
from mmjax.types import UserError


class Trained(NamedTuple):
    """What a workdir holds.

    config, labels: of the run; of a model that writes, its characters.
    words: the vocabulary, by id; () where the model reads none of its own.
    encode: texts -> ids and mask; None where the model reads no texts.
    model, variables, step: the Linen module, its variables and the step that they are of.
    """

    config: ConfigDict
    labels: tuple[str, ...]
    words: tuple[str, ...]
    encode: Callable | None
    model: Any
    variables: Mapping[str, Any]
    step: int


def completed(stored: dict[str, Any]) -> dict[str, Any]:
    """A stored config with defaults for keys that it was written without; raises as `checked`."""
    return checked(as_config(stored)).to_dict()


def stored_config(path: Path) -> ConfigDict:
    """The config of a workdir, with defaults for keys that it was written without.

    Raises:
        UserError: it has none, or one that cannot be (see `checked`).
    """
    stored = workdirs.read_json(path / workdirs.CONFIG_FILE)
    if not isinstance(stored, dict):
        raise UserError(f"{path / workdirs.CONFIG_FILE} is no table of keys; restore it")
    try:
        return checked(as_config(stored))
    except UserError as error:
        raise UserError(f"{path / workdirs.CONFIG_FILE}: {error}") from error


def read(workdir: str | Path, step: int | None = None) -> Trained:
    """Reads the best checkpoint of a workdir, or that of a step; on one device.

    Raises:
        UserError: no such workdir, no checkpoint in it, or one that does not fit.
    """
    path = Path(workdir).expanduser().absolute()
    config = stored_config(path)
    labels = workdirs.read_json(path / workdirs.LABELS_FILE)
    reads_words = "text" in modalities(config) and "text_length" in config.data
    kept = pretrained.checkpoints(config, path)
    encode, words = None, ()
    if reads_words and "text" in kept:
        encode = pretrained.encode_texts(kept["text"], config.data.text_length)
    elif reads_words:
        found = tokenizer.load(path / workdirs.TOKENIZER_FILE)
        words = tokenizer.words(found)
        encode = functools.partial(tokenizer.encode, found, length=config.data.text_length)
    made = model(config, classes=len(labels), vocabulary_size=len(words), checkpoints=kept)
    example = example_inputs(config)
    shapes = jax.eval_shape(lambda key: made.init(key, example), jax.random.PRNGKey(0))
    device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    abstract = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=device), shapes
    )
    params = abstract.pop("params")
    checkpoints = Checkpoints(path, base=frozen_base.base(config, path, params))
    steps = checkpoints.steps()
    if not steps:
        raise UserError(
            f"no checkpoint in {path}; train first, with mmjax.main --workdir={workdir}"
        )
    step = checkpoints.best_step() if step is None else step
    if step not in steps:
        raise UserError(f"no checkpoint of step {step} in {path}; there are {steps}")
    wanted = to_restore(params, trains(config, params), ema=config.optimizer.ema > 0)
    variables = checkpoints.restore_variables(step, wanted | {"model_state": abstract})
    return Trained(config, tuple(labels), words, encode, made, variables, step)

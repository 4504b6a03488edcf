"""A trained model as a function of what users have: arrays, file paths and strings."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from mmjax import build
from mmjax.data import tokenizer, transforms
from mmjax.tasks.task import Task
from mmjax.train import workdir as workdirs
from mmjax.train.checkpoint import Checkpoints
from mmjax.types import Input, UserError


class Predictor:
    """Answers about images, texts or both; made by `load`.

    Attributes:
        model, variables: the Linen module and its variables, for everybody who wants more.
        params: the variables' parameters.
        task: what turns outputs into predictions.
        labels: the names of the classes.
        modalities: the names of the inputs.
        batch_size: examples that run at once; more are cut into batches of this size.
    """

    def __init__(
        self,
        *,
        model: Any,
        variables: Any,
        task: Task,
        labels: Sequence[str],
        modalities: Sequence[str],
        image_size: int,
        text_length: int,
        words: Any,
        batch_size: int,
    ):
        self.model, self.variables, self.task = model, variables, task
        self.params = variables["params"]
        self.labels, self.modalities = tuple(labels), tuple(modalities)
        self.batch_size = batch_size
        self._image_size, self._text_length, self._words = image_size, text_length, words
        self._apply = jax.jit(lambda v, inputs: task.predict(model.apply(v, inputs)))
        self._encoders = {"image": self._images, "text": self._texts}

    def __call__(self, *, top: int = 3, **inputs: Any) -> Any:
        """The likeliest answers with their probabilities.

        Args:
            image: a path, a PIL image or a uint8 array [H W 3]; or a list of them.
            text: a string, or a list of them.
            top: how many answers.
                One modality may be missing, or None in a list: the model then answers from what
                there is. A single input beside a list serves all of it.

        Returns:
            For single inputs [{"answer": str, "probability": float}, ...], best first; for a list
            a list of these.

        Raises:
            UserError: no input, lists of different lengths, or an input that cannot be read.
        """
        probabilities, single = self._probabilities(inputs)
        order = np.argsort(-probabilities, axis=-1, kind="stable")[:, :top]
        answers = [
            [{"answer": self.labels[i], "probability": float(row[i])} for i in best]
            for row, best in zip(probabilities, order, strict=True)
        ]
        return answers[0] if single else answers

    def probabilities(self, **inputs: Any) -> np.ndarray:
        """The probability of every class, [examples C] in the order of `labels`; see `__call__`."""
        return self._probabilities(inputs)[0]

    def _probabilities(self, inputs: Mapping[str, Any]) -> tuple[np.ndarray, bool]:
        given = {name: value for name, value in inputs.items() if value is not None}
        for name in given:
            build.lookup(dict.fromkeys(self.modalities), name, "predict: input")
        if not given:
            raise UserError(f"nothing to predict from: give {' or '.join(self.modalities)}")
        lists = {name: v for name, v in given.items() if isinstance(v, (list, tuple))}
        if len({len(v) for v in lists.values()}) > 1:
            sizes = ", ".join(f"{len(v)} {name}" for name, v in lists.items())
            raise UserError(f"inputs of different lengths: {sizes}; give one of each an example")
        count = len(next(iter(lists.values()))) if lists else 1
        rows = {name: lists.get(name, [given.get(name)] * count) for name in self.modalities}
        parts = [
            self._batch({name: values[i : i + self.batch_size] for name, values in rows.items()})
            for i in range(0, count, self.batch_size)
        ]
        empty = np.zeros((0, len(self.labels)), np.float32)
        return np.concatenate([empty, *parts]), not lists

    def _batch(self, rows: Mapping[str, Sequence[Any]]) -> np.ndarray:
        count = len(next(iter(rows.values())))
        # Padded to a power of two, so that few programs are compiled.
        size = min(1 << (count - 1).bit_length(), self.batch_size)
        padded = {name: [*values, *[None] * (size - count)] for name, values in rows.items()}
        inputs = {name: self._encoders[name](values) for name, values in padded.items()}
        return np.asarray(self._apply(self.variables, inputs)["probabilities"])[:count]

    def _images(self, values: Sequence[Any]) -> Input:
        size = self._image_size
        pixels = np.zeros((len(values), size, size, 3), np.uint8)
        for row, value in zip(pixels, values, strict=True):
            if value is not None:
                row[:] = transforms.read_image(value, size)
        return Input(pixels, np.array([value is not None for value in values]))

    def _texts(self, values: Sequence[Any]) -> Input:
        for value in values:
            if value is not None and not isinstance(value, str):
                raise UserError(f"text must be a string, not {type(value).__name__}")
        texts = ["" if value is None else value for value in values]
        return Input(*tokenizer.encode(self._words, texts, self._text_length))


def load(workdir: str | Path, *, step: int | None = None, batch_size: int = 64) -> Predictor:
    """Loads the best checkpoint of a workdir, on any number of devices.

    It needs neither the data set nor the config file.

    Args:
        workdir: a directory that `mmjax.main` trained in.
        step: a checkpoint other than the best.
        batch_size: examples that run at once.

    Raises:
        UserError: no such workdir, no checkpoint in it, or one that does not fit.
    """
    path = Path(workdir).expanduser().absolute()
    config = build.as_config(workdirs.read_json(path / workdirs.CONFIG_FILE))
    labels = workdirs.read_json(path / workdirs.LABELS_FILE)
    names = build.modalities(config)
    words = tokenizer.load(path / workdirs.TOKENIZER_FILE) if "text" in names else None
    model = build.model(
        config, classes=len(labels), vocabulary_size=words.get_vocab_size() if words else 0
    )
    checkpoints = Checkpoints(path)
    steps = checkpoints.steps()
    if not steps:
        raise UserError(
            f"no checkpoint in {path}; train first, with mmjax.main --workdir={workdir}"
        )
    step = checkpoints.best_step() if step is None else step
    if step not in steps:
        raise UserError(f"no checkpoint of step {step} in {path}; there are {steps}")
    example = build.example_inputs(config)
    shapes = jax.eval_shape(lambda key: model.init(key, example), jax.random.PRNGKey(0))
    device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    abstract = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=device), shapes
    )
    params = abstract.pop("params")
    key = "ema_params" if config.optimizer.ema > 0 else "params"
    return Predictor(
        model=model,
        variables=checkpoints.restore_variables(step, {key: params, "model_state": abstract}),
        task=build.task(config),
        labels=labels,
        modalities=names,
        image_size=config.data.image_size,
        text_length=config.data.text_length,
        words=words,
        batch_size=batch_size,
    )

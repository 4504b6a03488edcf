"""A trained model as a function of what users have: arrays, file paths and strings."""

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from mmjax import build, published, zero_shot
from mmjax.build import pretrained
from mmjax.build.make_readers import make_readers
from mmjax.data import tokenizer
from mmjax.models.aligned import MIN_TEMPERATURE
from mmjax.spread import Spread
from mmjax.tasks.alignment import MATCH
from mmjax.tasks.task import Task
from mmjax.tasks.transcription import WRITTEN, spell
from mmjax.train import workdir as workdirs
from mmjax.train.checkpoint import Checkpoints
from mmjax.train.partition import to_restore
from mmjax.types import Input, UserError, decoding


class Predictor(zero_shot.ZeroShot):
    """Answers about whatever modalities the model was trained on; made by `load`.

    With embeddings (`config.task = "alignment"`), `similarity` and `classify` compare them; see
    `mmjax.zero_shot.ZeroShot`.

    Attributes:
        model, variables: the Linen module and its variables, for everybody who wants more.
        params: the variables' parameters.
        task: what turns outputs into predictions.
        labels: the names of the classes; of a model that writes, its characters.
        modalities: the names of the inputs.
        batch_size: examples that run at once; more are cut into batches of this size.
        thresholds: [C] where any number of labels may be right: the probability from which each is.
    """

    def __init__(
        self,
        *,
        model: Any,
        variables: Any,
        task: Task,
        labels: Sequence[str],
        readers: Mapping[str, Callable[[Sequence[Any]], Input]],
        batch_size: int,
        thresholds: np.ndarray | None = None,
    ):
        self.model, self.variables, self.task = model, variables, task
        self.params = variables["params"]
        self.labels, self.modalities = tuple(labels), tuple(readers)
        self.batch_size, self.thresholds = batch_size, thresholds
        self._readers = readers
        if "logit_scale" in self.params:
            temperature = float(np.exp(-self.params["logit_scale"]))
            self.scale = 1 / max(temperature, MIN_TEMPERATURE)
        self._apply = Spread(lambda v, inputs: task.predict(model.apply(v, inputs)))

    def __call__(self, *, top: int | None = None, **inputs: Any) -> Any:
        """The likeliest answers with their probabilities.

        Args:
            inputs: by modality; an image is a path, a PIL image or a uint8 array [H W 3], a sound a
                path or an array no longer than an example, a series or video an array with no more
                steps, a text a string, everything else an array of the shape of an example. Or
                lists of these, or both: a single input beside a list serves all of it. A modality
                may be missing, or None in a list: the model then answers from what there is.
            top: how many answers at most. None: 3; where any number of labels may be right, all
                those that reach their thresholds. A model that writes has one answer, a text.

        Returns:
            For single inputs [{"answer": str, "probability": float}, ...], best first; for a list
            a list of these.

        Raises:
            UserError: no input, lists of different lengths, an input that cannot be read, or a
                model that gives embeddings.
        """
        rows, single = self._predict(inputs)
        if WRITTEN in rows:
            texts = zip(spell(rows[WRITTEN], self.labels), rows["probability"], strict=True)
            said = [[{"answer": text, "probability": float(p)}] for text, p in texts]
            return said[0] if single else said
        probabilities = self._find(rows, "probabilities", "use embed(...)")
        order = np.argsort(-probabilities, axis=-1, kind="stable")
        if self.thresholds is None:
            right, top = np.ones_like(probabilities, bool), 3 if top is None else top
        else:
            right = probabilities >= self.thresholds
        answers = [
            [
                {"answer": self.labels[i], "probability": float(row[i])}
                for i in [i for i in best if reached[i]][:top]
            ]
            for row, best, reached in zip(probabilities, order, right, strict=True)
        ]
        return answers[0] if single else answers

    def probabilities(self, **inputs: Any) -> np.ndarray:
        """The probability of every class, [examples C] in the order of `labels`; see `__call__`."""
        return self._find(self._predict(inputs)[0], "probabilities", "use embed(...)")

    def transcribe(self, **inputs: Any) -> str | list[str]:
        """The text of each example, by a model that writes; inputs and errors as of `__call__`."""
        rows, single = self._predict(inputs)
        texts = spell(self._find(rows, WRITTEN, "call it, or use embed(...)"), self.labels).tolist()
        return texts[0] if single else texts

    def embed(self, **inputs: Any) -> dict[str, np.ndarray]:
        """The embeddings [examples E] of the modalities that are given, of length one, by name.

        Products of those of two modalities are their cosine similarities. A missing input, None in
        a list, has zeros. For the inputs and errors see `__call__`.
        """
        rows, _ = self._predict(inputs)
        given = [name for name, value in inputs.items() if value is not None]
        return {name: self._find(rows, name, "it answers: call it") for name in given}

    def match(self, **inputs: Any) -> np.ndarray:
        """The probability that the two inputs of each example belong together, [examples].

        By a model with `config.matching`, which fuses the two: slower and finer than `similarity`,
        for what that finds. An example that lacks one of the two has nan.

        Raises:
            UserError: not two modalities, a model without such a head, or as `__call__`.
        """
        if len(inputs) != 2:
            raise UserError(f"match is of two modalities, got {', '.join(inputs) or 'none'}")
        rows, _ = self._predict(inputs)
        return self._find(rows, MATCH + "-".join(sorted(inputs)), "it has no config.matching")

    def _find(self, rows: Mapping[str, np.ndarray], name: str, instead: str) -> np.ndarray:
        if name not in rows:
            instead = "use transcribe(...)" if WRITTEN in rows else instead
            kind = "an embedding of " if name in self.modalities else ""
            raise UserError(f"this model does not predict {kind}{name}; {instead}")
        return rows[name]

    def _predict(self, inputs: Mapping[str, Any]) -> tuple[dict[str, np.ndarray], bool]:
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
        # With nothing in the lists one blank row runs all the same, for the shapes.
        parts = [
            self._batch({name: values[i : i + self.batch_size] for name, values in rows.items()})
            for i in range(0, count, self.batch_size)
        ] or [self._batch({name: [None] for name in rows})]
        joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        return {name: array[:count] for name, array in joined.items()}, not lists

    def _batch(self, rows: Mapping[str, Sequence[Any]]) -> dict[str, np.ndarray]:
        count = len(next(iter(rows.values())))
        # Padded to a power of two, so that few programs are compiled.
        size = min(1 << (count - 1).bit_length(), self.batch_size)
        padded = {name: [*values, *[None] * (size - count)] for name, values in rows.items()}
        inputs = {name: self._readers[name](values) for name, values in padded.items()}
        predicted = self._apply(self.variables, inputs)
        return {name: np.asarray(rows)[:count] for name, rows in predicted.items()}


# modules.json lists the folders in which sentence-transformers may keep them.
WEIGHTS = ("*.safetensors", "*.bin", "*.pt", "*.pth", "*.pth.tar", "*.ckpt", "*.npz")
WEIGHTS += ("modules.json",)


def is_workdir(path: Path) -> bool:
    """Whether `mmjax.main` trained in a directory."""
    return (path / workdirs.LABELS_FILE).is_file() and workdirs.has_checkpoints(path)


def read_config(workdir: Path) -> ConfigDict:
    """The config of a workdir; raises UserError if it has none."""
    return build.as_config(workdirs.read_json(workdir / workdirs.CONFIG_FILE))


def is_published(path: Path) -> bool:
    """Whether a path is somebody's checkpoint: a file, or a directory of weights as no workdir."""
    return path.is_file() or any(any(path.glob(pattern)) for pattern in WEIGHTS)


def load(
    workdir: str | Path, *, step: int | None = None, batch_size: int = 64
) -> Predictor | published.Published:
    """Loads the best checkpoint of a workdir, on any number of devices, or a published model.

    Of a workdir it needs neither the data set nor the config file.

    Args:
        workdir: a directory that `mmjax.main` trained in, or one with somebody's checkpoint, or a
            file (see `mmjax.published.Published`).
        step: a checkpoint other than the best.
        batch_size: examples that run at once.

    Raises:
        UserError: no such workdir, no checkpoint in it, or one that does not fit.
    """
    path = Path(workdir).expanduser().absolute()
    with decoding(f"{path}: its files cannot be understood", "restore them, or get them anew"):
        return _load(path, workdir, step, batch_size)


def _load(
    path: Path, workdir: str | Path, step: int | None, batch_size: int
) -> Predictor | published.Published:
    if is_published(path):
        if step is not None:
            raise UserError(f"{path} is a published checkpoint and has no steps")
        return published.load(path, batch_size=batch_size)
    config = read_config(path)
    labels = workdirs.read_labels(path)
    reads_words = "text" in build.modalities(config) and "text_length" in config.data
    kept = pretrained.checkpoints(config, path)
    encode, vocabulary_size = None, 0
    if reads_words and "text" in kept:
        encode = pretrained.encode_texts(kept["text"], config.data.text_length)
    elif reads_words:
        words = tokenizer.load(path / workdirs.TOKENIZER_FILE)
        vocabulary_size = words.get_vocab_size()
        encode = functools.partial(tokenizer.encode, words, length=config.data.text_length)
    model = build.model(
        config, classes=len(labels), vocabulary_size=vocabulary_size, checkpoints=kept
    )
    example = build.example_inputs(config)
    shapes = jax.eval_shape(lambda key: model.init(key, example), jax.random.PRNGKey(0))
    device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    abstract = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=device), shapes
    )
    params = abstract.pop("params")
    checkpoints = Checkpoints(path, base=build.base(config, path, params))
    steps = checkpoints.steps()
    if not steps:
        raise UserError(
            f"no checkpoint in {path}; train first, with mmjax.main --workdir={workdir}"
        )
    step = checkpoints.best_step() if step is None else step
    if step not in steps:
        raise UserError(f"no checkpoint of step {step} in {path}; there are {steps}")
    wanted = to_restore(params, build.trains(config, params), ema=config.optimizer.ema > 0)
    return Predictor(
        model=model,
        variables=checkpoints.restore_variables(step, wanted | {"model_state": abstract}),
        task=build.task(config),
        labels=labels,
        readers=make_readers(config, encode),
        batch_size=batch_size,
        thresholds=thresholds(config, path, len(labels)),
    )


def thresholds(config: ConfigDict, path: Path, classes: int) -> np.ndarray | None:
    """Those that the workdir stores; 0.5 before the end of its training; None for one label."""
    if config.task != "multilabel":
        return None
    found = workdirs.read_tuned(path).get("thresholds", np.full(classes, 0.5, np.float32))
    if found.shape != (classes,) or not np.isfinite(found).all():
        raise UserError(
            f"{path / workdirs.TUNED_FILE} has not a threshold for each of {classes} labels:"
            " restore it"
        )
    return found

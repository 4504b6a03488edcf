"""Losses and metrics with the names of what they read: how a config's words become arguments.

Whatever a loss or a metric may read has a name:

    NAME             an output of the model, such as "label", "encoder/image", "embedding/text"
    batch/NAME       an entry of the batch, such as "batch/targets/label"
    prediction/NAME  what the task makes of the outputs, such as "prediction/probabilities"
    tuned/NAME       what was tuned on the validation split, such as "tuned/thresholds"

An array NAME counts only where the array NAME_mask [B] is True, if there is one.
"""

import dataclasses
import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

from mmjax.errors import UserError, nearest
from mmjax.types import MASK, TARGETS, Rows

BATCH, PREDICTION, TUNED = "batch/", "prediction/", "tuned/"
PERMUTATION, LAMBDA = "mixup/permutation", "mixup/lambda"  # outputs of a model that mixes examples
TRUTH = BATCH + TARGETS

Values = Mapping[str, Any]


def named(outputs: Values, batch: Values, prediction: Values) -> dict[str, Any]:
    """All that a loss or a metric may read, by name."""
    return (
        dict(outputs)
        | {BATCH + name: value for name, value in batch.items()}
        | {PREDICTION + name: value for name, value in prediction.items()}
    )


@dataclasses.dataclass(frozen=True)
class KeyedFunction:
    """A loss or a metric, and the name of what each of its arrays is.

    Attributes:
        function: arrays -> one value for each row; or, on the host, for the whole set: arrays ->
            a number, or numbers by name.
        reads: the name of what each parameter is given.
        where: the config key, for errors.
        part_name: how the numbers of a metric that has several are called, a format of `part`.
    """

    function: Callable
    reads: Mapping[str, str]
    where: str
    part_name: str = "{part}"

    def __call__(self, values: Values) -> Rows:
        """The value of each row. Rows that do not see each other are masked here, others inside.

        If examples were mixed, a loss against the truth is mixed in the same way.

        Raises:
            UserError: nothing has a name that is read, or the function refuses what it is given.
        """
        if PERMUTATION not in values or not any(x.startswith(TRUTH) for x in self.reads.values()):
            return self._rows(values)
        permutation, lam = values[PERMUTATION], values[LAMBDA]
        other = {name: x[permutation] for name, x in values.items() if name.startswith(TRUTH)}
        own, others = self._rows(values), self._rows({**values, **other})
        # A row that is not mixed has a lambda of one, and what the other holds is no matter.
        mixed = lam * own.value + (1 - lam) * jnp.where(lam < 1, others.value, 0)
        return Rows(mixed, own.mask & ((lam >= 1) | others.mask))

    def _rows(self, values: Values) -> Rows:
        arguments, mask = self.arrays(values), self.mask(values)
        known = inspect.signature(self.function).parameters
        rows_mix = known.get("mask", None)
        if rows_mix is not None and rows_mix.kind is inspect.Parameter.KEYWORD_ONLY:
            arguments.setdefault("mask", mask)
        if "positives" in known and "positives" not in arguments:
            arguments["positives"] = same_content(values, self.reads.values())
        return Rows(self._call(arguments).astype(jnp.float32), mask)

    def _call(self, arguments: Mapping[str, Any]) -> Any:
        # What a function refuses, an option or arrays that do not fit, is what the config says.
        try:
            return self.function(**arguments)
        except (TypeError, ValueError) as error:
            line = " ".join(str(error).split())
            raise UserError(f"{self.where}: {line}") from error

    def arrays(self, values: Values) -> dict[str, Any]:
        """The arguments by parameter; what is not tuned yet is left to the function's default."""
        return {
            parameter: self._find(name, values)
            for parameter, name in self.reads.items()
            if name in values or not name.startswith(TUNED)
        }

    def mask(self, values: Values) -> Bool[Array | np.ndarray, " B"]:
        """Which rows have all that is read."""
        mask = values[BATCH + MASK]
        for name in self.kept():
            if name.endswith("_mask"):
                there = values.get(name)
                mask = mask if there is None or there.ndim != 1 else mask & there
        return mask

    def kept(self) -> list[str]:
        """The names of all arrays that it may read, with their masks."""
        names = [name for name in self.reads.values() if not name.startswith(TUNED)]
        ids = [id_name(name) for name in names if id_name(name)]
        return [*names, *(f"{name}_mask" for name in names), *ids]

    def on_host(self, name: str, values: Values) -> dict[str, float]:
        """The numbers of a metric of the whole set, each by its name; none without a row.

        Args:
            name: of the metric.
            values: numpy arrays with a row for each example of the set, and what was tuned.
        """
        counted = np.asarray(self.mask(values))
        arguments = {
            parameter: value if self.reads[parameter].startswith(TUNED) else value[counted]
            for parameter, value in self.arrays(values).items()
        }
        for parameter in inspect.signature(self.function).parameters:
            source = self.reads.get(parameter.removesuffix("_id"))
            if parameter.endswith("_id") and source and id_name(source) in values:
                arguments[parameter] = np.asarray(values[id_name(source)])[counted]
        if not counted.any():
            return {}
        result = self._call(arguments)
        if not isinstance(result, Mapping):
            return {name: float(result)}
        return {self.part_name.format(part=part): float(x) for part, x in result.items()}

    def _find(self, name: str, values: Values) -> Any:
        if name in values:
            return values[name]
        readable = [n for n in values if not n.endswith(("_mask", "_index", "_id"))]
        raise UserError(f"{self.where}: nothing is called {name!r}; {nearest(name, readable)}")


def id_name(name: str) -> str:
    """Where the numbers of the contents of an embedding are: "embedding/image" -> "batch/image_id".

    "" for what is no embedding of a modality.
    """
    kind, _, modality = name.rpartition("/")
    embedding = kind and not name.startswith((BATCH, PREDICTION, TUNED))
    return f"{BATCH}{modality}_id" if embedding else ""


def same_content(values: Values, names: Collection[str]) -> Bool[Array, "B B"] | None:
    """Which rows are right answers to each other: those that share the content of a modality.

    An image with five captions is in five rows, each caption of which is right for it; so are the
    rows of two images with the same caption. None if the batch numbers no content.
    """
    ids = [values[id_name(name)] for name in names if id_name(name) in values]
    if not ids:
        return None
    return jnp.any(jnp.stack([numbers[:, None] == numbers for numbers in ids]), axis=0)

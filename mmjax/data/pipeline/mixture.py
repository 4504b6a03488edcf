"""Several data sets as one: their examples mixed in each batch, or a batch of one after the other.

An example has the modalities and targets of its own data set; what it lacks is missing by mask, so
that one program trains on all.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from mmjax.data.pipeline.loader import Examples
from mmjax.errors import UserError
from mmjax.types import SLICE


def proportions(
    sizes: Sequence[int], *, weights: Sequence[float] | None = None, temperature: float = 1.0
) -> Float[np.ndarray, " parts"]:
    """How often each data set is drawn from: w_i n_i^(1/T) / sum_j w_j n_j^(1/T).

    Args:
        sizes: n, examples of each.
        weights: w; None: 1 for each.
        temperature: T above 0; 1 draws by size, more draws small sets more often, infinity all
            alike (Raffel et al. 2020, https://arxiv.org/abs/1910.10683).

    Raises:
        UserError: a weight below 0, weights of another number, no positive one, or a temperature
            that is not above 0.
    """
    given = [1.0] * len(sizes) if weights is None else list(weights)
    if len(given) != len(sizes) or min(given) < 0 or not sum(given):
        raise UserError(
            f"weights {given} of {len(sizes)} data sets: give one of 0 or more for each"
        )
    if not temperature > 0:
        raise UserError(f"temperature={temperature}: give a number above 0, or inf")
    shares = np.asarray(given) * np.asarray(sizes, float) ** (1 / temperature)
    return shares / shares.sum()


def alternating(probabilities: Float[np.ndarray, " parts"], count: int) -> np.ndarray:
    """Which part each of `count` batches is of: always the one that lacks most of its share."""
    shares = probabilities / probabilities.sum()
    order, given = np.zeros(count, int), np.zeros(len(shares))
    for batch in range(count):
        order[batch] = np.argmax(shares * (batch + 1) - given)
        given[order[batch]] += 1
    return order


class Mixture:
    """Rows of several data sets; see pipeline.loader.Examples.

    A batch has the keys of all of them. In training a row is drawn from part i with probability
    p_i; or, alternating, all rows of a batch are of one part, which p_i of the batches are. Rows of
    a part are drawn with replacement.

    Args:
        name: for messages.
        parts: by name, what makes the rows and batches of each.
        probabilities: p, of each part, see `proportions`.
        alternate: rows of a batch of all processes, if each is to be of one part; 0: mixed.
        slices: how many slices each part has; theirs follow each other. None: one each.

    Raises:
        UserError: no parts, parts without examples, or two that give arrays of different shapes.
    """

    def __init__(
        self,
        name: str,
        parts: Mapping[str, Examples],
        probabilities: Sequence[float],
        alternate: int = 0,
        slices: Sequence[int] | None = None,
    ):
        self.name, self._parts = name, tuple(parts.values())
        empty = [key for key, part in parts.items() if not part.train_length()]
        if not parts or empty:
            raise UserError(f"{name}: {', '.join(empty) or 'it'} holds no example")
        self._edges = np.cumsum(np.asarray(probabilities, float))
        self._first_slice = np.cumsum([0, *([1] * len(parts) if slices is None else slices)])
        self._alternate, self.in_order = alternate, alternate > 0
        batches = -(-self.train_length() // alternate) if alternate else 0
        self._order = alternating(np.asarray(probabilities, float), batches)
        self._blank: dict[str, np.ndarray] = {}
        for key, part in parts.items():
            batch = part.batch([part.eval_row(0)])
            for entry, array in batch.items():
                known = self._blank.setdefault(entry, np.zeros(array.shape[1:], array.dtype))
                if (known.shape, known.dtype) != (array.shape[1:], array.dtype):
                    raise UserError(
                        f"{name}: {entry!r} of {key} is {array.dtype} {list(array.shape[1:])}, that"
                        f" of others {known.dtype} {list(known.shape)}: give it another name"
                    )
        indexed = [entry for entry in self._blank if entry.endswith("_index")]
        if indexed:
            raise UserError(
                f"{name}: rows that share an input ({indexed[0]}) cannot be mixed: give"
                " config.data.batch_size in place of config.data.images_per_batch"
            )

    def train_length(self) -> int:
        """Examples of all parts; alternating, as many as fill the last batch."""
        count = sum(part.train_length() for part in self._parts)
        return count + -count % self._alternate if self._alternate else count

    def eval_length(self) -> int:
        """Rows that hold every example of every part once."""
        return sum(part.eval_length() for part in self._parts)

    def train_row(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        """A random row: of a part that is drawn, or whose turn it is at this place."""
        if self._alternate:
            number = int(self._order[index // self._alternate])
        else:
            drawn = rng.random() * self._edges[-1]
            number = min(
                int(np.searchsorted(self._edges, drawn, side="right")), len(self._parts) - 1
            )
        part = self._parts[number]
        return {"part": number, "row": part.train_row(int(rng.integers(part.train_length())), rng)}

    def eval_row(self, position: int) -> dict[str, Any]:
        """The row at `position`, part after part; a blank one behind the end."""
        for number, part in enumerate(self._parts):
            if position < part.eval_length() or number == len(self._parts) - 1:
                return {"part": number, "row": part.eval_row(position)}
            position -= part.eval_length()
        raise AssertionError("unreachable: the last part takes all that is left")

    def batch(self, chosen: Sequence[dict[str, Any]]) -> dict[str, np.ndarray]:
        """Puts rows together; what the data set of a row lacks is zero and False."""
        parts = np.array([row["part"] for row in chosen])
        found = {
            entry: np.zeros((len(chosen), *blank.shape), blank.dtype)
            for entry, blank in self._blank.items()
        }
        for number, part in enumerate(self._parts):
            places = np.flatnonzero(parts == number)
            if len(places):
                batch = part.batch([chosen[place]["row"] for place in places])
                batch[SLICE] = batch[SLICE] + self._first_slice[number].astype(np.int32)
                for entry, array in batch.items():
                    found[entry][places] = array
        return found

"""The Grain pipeline: from examples to batches of numpy arrays, sharded over processes.

A batch is made of R rows, each of which holds one example or several that share an input. Every
batch is a function of its position alone, whatever the threads and workers, so a position is all
that there is to save.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

import grain
import numpy as np
from absl import flags
from jaxtyping import Float

from mmjax.errors import UserError

_NEXT = "next_batch"


@runtime_checkable
class Examples(Protocol):
    """What makes rows and batches; the row that lacks something is zero and False in `_mask`.

    name: of the split, for messages.
    """

    name: str

    def train_length(self) -> int:
        """Rows of an epoch of training."""
        ...

    def eval_length(self) -> int:
        """Rows that hold every example exactly once."""
        ...

    def train_row(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        """Row `index` for training; what is random in it follows `rng`."""
        ...

    def eval_row(self, position: int) -> dict[str, Any]:
        """The row at `position` for evaluation; a blank one behind the end."""
        ...

    def batch(self, chosen: Sequence[dict[str, Any]]) -> dict[str, np.ndarray]:
        """Rows -> a batch."""
        ...


@dataclasses.dataclass(frozen=True)
class Reading:
    """How batches are read.

    batch_rows: R, rows of a batch of this process.
    workers: processes that prepare batches; 0 for none.
    threads: that prepare batches, in each process; 0 for none.
    prefetch: batches kept ready, in each process.
    process_index, process_count: the share of this process in a run of several.
    """

    batch_rows: int
    workers: int = 0
    threads: int = 1
    prefetch: int = 2
    process_index: int = 0
    process_count: int = 1


class BatchIterator(grain.DatasetIterator):
    """Iterates over batches; its state is the number of batches given so far.

    The state does not depend on threads, workers or processes, so a run may continue with other
    numbers of them as long as `batch_rows * process_count` stays. `close` stops the workers.
    """

    def __init__(self, batches: grain.MapDataset, reading: Reading):
        super().__init__()
        self._batches = batches
        self._reading = grain.ReadOptions(
            num_threads=reading.threads, prefetch_buffer_size=reading.prefetch
        )
        self._working = grain.MultiprocessingOptions(
            num_workers=reading.workers, per_worker_buffer_size=max(reading.prefetch, 1)
        )
        self._given = 0
        self._inner: grain.DatasetIterator | None = None

    def __next__(self) -> dict[str, np.ndarray]:
        if self._inner is None:
            if self._working.num_workers and not flags.FLAGS.is_parsed():
                # Grain's workers read absl flags, which only programs run by absl have parsed.
                flags.FLAGS.mark_as_parsed()
            rest = self._batches[self._given :].to_iter_dataset(self._reading)
            self._inner = iter(rest.mp_prefetch(self._working))
        batch = next(self._inner)
        self._given += 1
        return batch

    def get_state(self) -> dict[str, int]:
        """The position, a dict that JSON can hold."""
        return {_NEXT: self._given}

    def set_state(self, state: dict[str, int]) -> None:
        """Moves to the position of `state`: the next batch is the one that followed it."""
        self.close()
        self._given = state[_NEXT]

    def close(self) -> None:
        """Stops threads and workers; the next batch starts them anew."""
        if self._inner is not None:
            self._inner.close()
            self._inner = None


class Batches:
    """A finite number of batches, in order and from the start at every iteration."""

    def __init__(self, batches: grain.MapDataset, reading: Reading):
        self._batches, self._reading = batches, reading

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        batches = BatchIterator(self._batches, self._reading)
        try:
            yield from batches
        finally:
            batches.close()


class SampleByWeight:
    """Draws a row by its probability, whatever row it is given; worker processes can receive it."""

    def __init__(self, probabilities: Float[np.ndarray, " rows"]):
        edges = np.cumsum(probabilities)
        self._edges = edges / edges[-1]

    def __call__(self, _: int, rng: np.random.Generator) -> int:
        return int(np.searchsorted(self._edges, rng.random(), side="right"))


class BatchSource:
    """The batches of one process: of each global batch the rows that lie side by side.

    Put together by process, batches are those of a single process, row by row, so that whatever
    depends on a row's place (augmentation, dropout) is the same for any number of processes. Grain
    sees whole batches: what it does for an element costs as much as reading a row of a table.

    Args:
        rows: all rows, in the order of a single process; what fills no global batch is left out.
        reading: the share of this process, and its rows of a batch.
        batch: puts rows together.
    """

    def __init__(
        self,
        rows: grain.MapDataset,
        reading: Reading,
        batch: Callable[[Sequence[Any]], dict[str, np.ndarray]],
    ):
        self._rows, self._size, self._batch = rows, reading.batch_rows, batch
        self._start = reading.process_index * reading.batch_rows
        self._step = reading.process_count * reading.batch_rows

    def __len__(self) -> int:
        return len(self._rows) // self._step

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        first = index * self._step + self._start
        return self._batch([self._rows[row] for row in range(first, first + self._size)])


def train_iterator(
    examples: Examples,
    reading: Reading,
    *,
    seed: int,
    epochs: int | None = None,
    probabilities: Float[np.ndarray, " rows"] | None = None,
) -> BatchIterator:
    """Shuffled batches of a fixed shape, without end or for so many epochs.

    Every row comes once an epoch, in an order of its own each epoch, unless `probabilities` say
    how often; batches run on across the end of an epoch. The processes share each global batch of
    `batch_rows * process_count` rows. What a row lacks, and the rows of broken records, are False
    in `_mask`.

    Args:
        examples: what makes rows and batches.
        reading: how they are read.
        seed: of the order and of what `examples` draws, 0 to 2**32 - 1.
        epochs: None for no end; the last batch is left out where it is not full.
        probabilities: of each row at each draw, with replacement; None draws each once an epoch.

    Raises:
        UserError: not one full batch in all epochs; while iterating: over 1 % of the records are
            broken.
    """
    if not examples.train_length():
        raise UserError(f"{examples.name}: no records to train on")
    # The draw precedes the split by process, so its random numbers follow the global position.
    drawn = grain.MapDataset.range(examples.train_length()).seed(seed)
    drawn = (drawn if getattr(examples, "in_order", False) else drawn.shuffle()).repeat(epochs)
    if probabilities is not None:
        drawn = drawn.random_map(SampleByWeight(probabilities))
    drawn = drawn.random_map(examples.train_row)
    batches = BatchSource(drawn, reading, examples.batch)
    if not len(batches):
        raise UserError(
            f"{examples.name}: {len(drawn)} rows in all epochs do not fill one batch of "
            f"{reading.batch_rows} on each of {reading.process_count} processes; lower the batch "
            "size"
        )
    return BatchIterator(grain.MapDataset.source(batches), reading)


def eval_batches(examples: Examples, reading: Reading) -> Batches:
    """Every example of the split exactly once, in order, as batches of one static shape.

    What pads the last rows is False in `_mask`, and all processes get the same number of batches.

    Returns:
        An iterable with a length, over batches as of `train_iterator`.
    """
    count = examples.eval_length()
    padded = count + -count % (reading.batch_rows * reading.process_count)
    taken = grain.MapDataset.range(padded).map(examples.eval_row)
    batches = BatchSource(taken, reading, examples.batch)
    return Batches(grain.MapDataset.source(batches), reading)

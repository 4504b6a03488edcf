"""The Grain pipeline: from a source to batches of numpy arrays, sharded over processes.

A batch has R rows of images and B examples, one example a question. With K questions an image,
B = R * K and the questions of row r are the examples r * K to r * K + K - 1; with K = 0 every pair
of an image and a question is a row of its own, and R = B. Every batch is a function of its position
alone, whatever the threads and workers, so a position is all that there is to save.
"""

import functools
from collections.abc import Iterator, Sequence

import grain
import numpy as np
from absl import flags

from mmjax.data.examples import Encode, Examples, rows
from mmjax.data.source import Source
from mmjax.types import UserError

_NEXT = "next_batch"


class BatchIterator(grain.DatasetIterator):
    """Iterates over batches; its state is the number of batches given so far.

    The state does not depend on threads, workers or processes, so a run may continue with other
    numbers of them as long as `batch_images * process_count` stays. `close` stops the workers.
    """

    def __init__(self, batches: grain.MapDataset, *, workers: int, threads: int, prefetch: int):
        super().__init__()
        self._batches = batches
        self._reading = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=prefetch)
        self._working = grain.MultiprocessingOptions(
            num_workers=workers, per_worker_buffer_size=max(prefetch, 1)
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

    def __init__(self, batches: grain.MapDataset, **options: int):
        self._batches, self._options = batches, options

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        batches = BatchIterator(self._batches, **self._options)
        try:
            yield from batches
        finally:
            batches.close()


def train_iterator(
    source: Source,
    *,
    batch_images: int,
    questions_per_image: int,
    encode: Encode | None,
    seed: int,
    epochs: int | None = None,
    modalities: Sequence[str],
    workers: int = 0,
    threads: int = 1,
    prefetch: int = 2,
    process_index: int = 0,
    process_count: int = 1,
) -> BatchIterator:
    """Shuffled batches of a fixed shape, without end or for so many epochs.

    Every image comes once an epoch, in an order of its own each epoch, with `questions_per_image`
    of its questions drawn anew; batches run on across the end of an epoch. The processes share each
    global batch of `batch_images * process_count` rows. Questions that an image lacks and the rows
    of broken records are False in `_mask`.

    Args:
        batch_images: R, rows of a batch of this process.
        questions_per_image: K; 0 makes every question a row of its own, in shuffled order.
        encode: texts -> (ids int32 [n L], mask bool [n L]); may be None without "text".
        seed: of the order and the choice of questions, 0 to 2**32 - 1.
        epochs: None for no end; the last batch is left out where it is not full.
        modalities: "image", "text" or both; keys of others are absent, and nothing is decoded.
        workers: processes that prepare batches; 0 for none.
        threads: that prepare batches, in each process; 0 for none.
        prefetch: batches kept ready, in each process.

    Returns:
        Iterator over dicts: `image` uint8 [R H W 3], `image_mask` bool [R], `image_index` int32 [B]
        (the row of each example among this process's; absent for K = 0), `text` int32 [B L],
        `text_mask` bool [B L], `label` and `group` int32 [B], `_mask` bool [B].

    Raises:
        UserError: an unknown modality, or not one full batch in all epochs; while iterating: over
            1 % of the records are broken.
    """
    examples = Examples(source, tuple(modalities), questions_per_image, encode)
    order = [] if questions_per_image else rows(source, 1)
    length = len(source.records) if questions_per_image else len(order)
    if not length:
        raise UserError(f"{source.name}: no records to train on")
    # The draw precedes the split by process, so its random numbers follow the global position.
    drawn = grain.MapDataset.range(length).seed(seed).shuffle().repeat(epochs)
    if questions_per_image:
        drawn = drawn.random_map(examples.draw)
    else:
        drawn = drawn.map(functools.partial(examples.take, order))
    usable = len(drawn) // process_count * process_count
    batches = drawn[process_index:usable:process_count].batch(
        batch_images, drop_remainder=True, batch_fn=examples.batch
    )
    if not len(batches):
        raise UserError(
            f"{source.name}: {len(drawn)} rows in all epochs do not fill one batch of "
            f"{batch_images} on each of {process_count} processes; lower the batch size"
        )
    return BatchIterator(batches, workers=workers, threads=threads, prefetch=prefetch)


def eval_batches(
    source: Source,
    *,
    batch_images: int,
    questions_per_image: int,
    encode: Encode | None,
    modalities: Sequence[str],
    workers: int = 0,
    threads: int = 1,
    prefetch: int = 2,
    process_index: int = 0,
    process_count: int = 1,
) -> Batches:
    """Every question of the split exactly once, in order, as batches of one static shape.

    An image with more than `questions_per_image` questions takes several rows. What pads the last
    rows is False in `_mask`, and all processes get the same number of batches.

    Args:
        As for `train_iterator`.

    Returns:
        An iterable with a length, over dicts as of `train_iterator`.
    """
    examples = Examples(source, tuple(modalities), questions_per_image, encode)
    order = rows(source, max(questions_per_image, 1))
    padded = len(order) + -len(order) % (batch_images * process_count)
    taken = grain.MapDataset.range(padded).map(functools.partial(examples.take, order))
    batches = taken[process_index::process_count].batch(batch_images, batch_fn=examples.batch)
    return Batches(batches, workers=workers, threads=threads, prefetch=prefetch)

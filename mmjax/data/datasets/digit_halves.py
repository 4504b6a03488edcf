"""Handwritten digits cut in two: which lower half belongs to which upper half? No download.

1,797 digits of 8 x 8 pixels from 13 writers, which come with scikit-learn (the test half of
"Optical recognition of handwritten digits", https://doi.org/10.24432/C50P49). Two halves of one
image are the classic pair of views for methods that align modalities (Andrew et al. 2013,
https://proceedings.mlr.press/v28/andrew13.html).
"""

import numpy as np

from mmjax.data.sources.arrays import Arrays
from mmjax.data.sources.targets import Target
from mmjax.errors import UserError

MODALITIES = ("lower", "upper")
SIZE = 1797
_BRIGHTEST = 16.0


def digit_halves(
    *, seed: int = 0, train: int = 1297, validation: int = 200, test: int = 300
) -> dict[str, Arrays]:
    """The splits train, validation and test; vectors float32 [examples 32] in 0..1, row by row.

    The label is the digit, the slice the whole set. Each half is an item of its own.

    Args:
        seed: of the order in which the digits are dealt out to the splits.
        train, validation, test: number of examples, 1,797 at most in all.

    Raises:
        UserError: more examples than there are, or a split without any.
    """
    lengths = {"train": train, "validation": validation, "test": test}
    if min(lengths.values()) < 1 or sum(lengths.values()) > SIZE:
        raise UserError(f"digit_halves: {lengths}: give 1 or more to each, {SIZE} at most in all")
    from sklearn.datasets import load_digits  # slow to import

    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(seed).permutation(SIZE)
    images, labels = np.float32(images[order] / _BRIGHTEST), labels[order].astype(np.int32)
    splits, start = {}, 0
    for split, length in lengths.items():
        rows = slice(start, start := start + length)
        upper, lower = np.split(images[rows], 2, axis=1)
        splits[split] = Arrays(
            name=f"digit_halves/{split}",
            values={"lower": lower, "upper": upper},
            masks={name: np.ones(lower.shape, bool) for name in MODALITIES},
            ids={name: np.arange(1, length + 1, dtype=np.int32) for name in MODALITIES},
            targets={"label": Target(labels[rows], tuple(map(str, range(10))))},
            slice_ids=np.zeros(length, np.int32),
            slices=("all",),
        )
    return splits

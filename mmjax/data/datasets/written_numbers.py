"""Handwritten numbers of two to four digits, to be read. No download.

1,797 digits of 8 x 8 pixels from 13 writers, which come with scikit-learn (the test half of
"Optical recognition of handwritten digits", https://doi.org/10.24432/C50P49), side by side.
"""

import numpy as np

from mmjax.data.datasets.joined_digits import WORDS, Digits, join
from mmjax.data.sources.arrays import Arrays
from mmjax.data.sources.targets import Target
from mmjax.errors import UserError

ROWS = 8  # of pixels: the features of a step
STEPS = 16  # of a digit: each of its columns is two steps
LARGEST = 6  # digits in a number
_BRIGHTEST = 16.0
_PARTS = {"train": range(7), "validation": (7,), "test": (8, 9)}  # of ten


def written_numbers(
    *,
    seed: int = 0,
    fewest: int = 2,
    most: int = 4,
    words: bool = True,
    train: int = 2048,
    validation: int = 256,
    test: int = 256,
) -> dict[str, Arrays]:
    """The splits train, validation and test: ink float32 [20 * most 8] in 0..1, column by column
    from the left, and text, such as "seven three one" or "7 3 1".

    No picture of a digit is in two splits. The label is how many digits the number has.

    Args:
        seed: of what goes together.
        fewest, most: digits in a number, at most 6.
        words: whether the text has words or figures.
        train, validation, test: number of examples.

    Raises:
        UserError: numbers that cannot be.
    """
    if not 1 <= fewest <= most <= LARGEST:
        raise UserError(
            f"written_numbers: fewest={fewest}, most={most}: give 1 to {LARGEST} digits"
        )
    from sklearn.datasets import load_digits  # half a second that other data sets need not pay

    loaded = load_digits()
    columns = np.float32(loaded.images / _BRIGHTEST).transpose(0, 2, 1).repeat(2, axis=1)
    source = Digits(list(columns), loaded.target, np.zeros(len(columns), np.int32))
    part = np.arange(len(columns)) % 10
    gaps = (0, STEPS // 4)
    splits = {}
    lengths = {"train": train, "validation": validation, "test": test}
    for number, (split, count) in enumerate(lengths.items()):
        made = join(
            source.of(np.isin(part, _PARTS[split])),
            (0,),
            np.random.default_rng((seed, number)),
            count=count,
            length=most * (STEPS + gaps[1]),
            fewest=fewest,
            most=most,
            gaps=gaps,
            names=WORDS if words else tuple(map(str, range(10))),
        )
        splits[split] = Arrays(
            name=f"written_numbers/{split}",
            values={"ink": made.values},
            masks={"ink": made.mask},
            texts={"text": made.texts},
            targets={
                "label": Target(made.counts - fewest, tuple(map(str, range(fewest, most + 1))))
            },
            slice_ids=np.zeros(count, np.int32),
            slices=("all",),
        )
    return splits

"""A handwritten digit, a spoken digit and an operator as text: what is the result?

The answer needs all three. Pictures: the optical digits that scikit-learn ships (Alpaydin & Kaynak
1998, 1,797 of 8 x 8 pixels). Speech: synthesised, see `mmjax.data.datasets.spoken_digits`; test
voices are never heard in training.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from mmjax.data.datasets.spoken_digits import spoken_digits
from mmjax.data.sources.arrays import Arrays
from mmjax.data.sources.targets import Target
from mmjax.errors import UserError

# All results are digits; the first three are modulo ten, which takes far longer to learn.
OPERATORS: Mapping[str, Callable] = {
    "plus": lambda seen, heard: (seen + heard) % 10,
    "minus": lambda seen, heard: (seen - heard) % 10,
    "times": lambda seen, heard: (seen * heard) % 10,
    "difference": lambda seen, heard: abs(seen - heard),
    "larger": np.maximum,
    "smaller": np.minimum,
}
COMPARING = ("difference", "larger", "smaller")
MODALITIES = ("image", "audio", "text")
SLICES = ("complete", *(f"without {name}" for name in MODALITIES))
ANSWERS = tuple(map(str, range(10)))
SIDE = 16  # pixels: each of the 8 x 8 is doubled


def best_without(*absent: str, operators: Sequence[str] = COMPARING) -> float:
    """The accuracy of the best answer by who recognises all that is there, digits being uniform.

    Args:
        absent: the modalities that are not there; none: everything is.
        operators: names in OPERATORS, all as frequent.
    """
    counts: dict[tuple, np.ndarray] = {}
    for seen, heard, name in itertools.product(range(10), range(10), operators):
        known = {"image": seen, "audio": heard, "text": name}
        row = counts.setdefault(tuple(v for k, v in known.items() if k not in absent), np.zeros(10))
        row[OPERATORS[name](seen, heard)] += 1
    total = sum(row.sum() for row in counts.values())
    return float(sum(row.max() for row in counts.values()) / total)


def _pictures() -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import load_digits  # half a second that other data sets need not pay

    digits = load_digits()
    small = (digits.images * (255 / 16)).round().astype(np.uint8)
    return small.repeat(2, 1).repeat(2, 2)[..., None].repeat(3, -1), digits.target


def digit_arithmetic(
    *,
    dir: str,  # noqa: A002
    seed: int = 0,
    operators: tuple[str, ...] = COMPARING,
    missing: float = 0.1,
    train: int = 16384,
    validation: int = 1000,
    test: int = 1000,
) -> dict[str, Arrays]:
    """The splits train, validation and test: image uint8 [16 16 3], audio float32 [4800] at 8 kHz,
    text int32 [1] (the operator, from 1).

    The splits share no picture and no voice. The test split holds its examples four times:
    complete, and without each modality; the slice says which.

    Args:
        dir: the data directory; 10 MB of speech are written below it once.
        seed: of what goes together.
        operators: one or more names in OPERATORS.
        missing: probability that a modality is absent in an example of training.
        train, validation, test: number of examples.

    Raises:
        UserError: no speech synthesiser, an unknown operator, or `missing` is out of range.
    """
    unknown = [name for name in operators if name not in OPERATORS]
    if unknown or not operators:
        known = ", ".join(OPERATORS)
        raise UserError(f"digit_arithmetic: operators={operators}: give one or more of {known}")
    if not 0 <= missing < 1:
        raise UserError(f"digit_arithmetic: missing={missing}: give a probability below 1")
    speech = spoken_digits(Path(dir).expanduser())
    pictures, shown = _pictures()
    heard = np.arange(speech["clips"].shape[1]) < speech["lengths"][:, None]
    # Ten parts: two for testing, one for validation.
    part = {"image": np.arange(len(pictures)) % 10, "audio": speech["voices"] % 10}
    parts = {"train": range(7), "validation": (7,), "test": (8, 9)}
    lengths = {"train": train, "validation": validation, "test": test}
    splits = {}
    for number, (split, length) in enumerate(lengths.items()):
        rng = np.random.default_rng((seed, number))
        image, audio = (
            rng.choice(np.flatnonzero(np.isin(part[name], parts[split])), length)
            for name in ("image", "audio")
        )
        operator = rng.integers(len(operators), size=length)
        digits = shown[image], speech["digits"][audio]
        results = np.stack([OPERATORS[name](*digits) for name in operators])
        index = {"image": image, "audio": audio, "text": operator}
        labels, slice_ids = results[operator, np.arange(length)], np.zeros(length, np.int32)
        absent = np.zeros((length, len(MODALITIES)), bool)
        if split == "train":
            absent = rng.random(absent.shape) < missing
        if split == "test":
            conditions = np.vstack([absent[:1], np.eye(len(MODALITIES), dtype=bool)])
            slice_ids = np.arange(len(conditions), dtype=np.int32).repeat(length)
            absent, labels = conditions[slice_ids], np.tile(labels, len(conditions))
            index = {name: np.tile(rows, len(conditions)) for name, rows in index.items()}
        splits[split] = Arrays(
            name=f"digit_arithmetic/{split}",
            values={
                "image": pictures,
                "audio": speech["clips"],
                "text": np.arange(1, len(operators) + 1, dtype=np.int32)[:, None],
            },
            masks={
                "image": np.ones(len(pictures), bool),
                "audio": heard,
                "text": np.ones((len(operators), 1), bool),
            },
            targets={
                "label": Target(labels, ANSWERS),
                "value": Target(labels.astype(np.float32)),  # the same as a number
            },
            slice_ids=slice_ids,
            slices=SLICES,
            index=index,
            absent=dict(zip(MODALITIES, absent.T, strict=True)),
        )
    return splits

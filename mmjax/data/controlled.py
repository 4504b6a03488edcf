"""Controlled tasks: the label is carried by every modality, by one, or only by all together.

Each of the modalities a, b and c shows a symbol out of n, as a vector: the symbol's prototype and a
little Gaussian noise, far too little to mistake it. With probability `flip` a shown symbol is
replaced by one drawn at random, so the best accuracy that anything can reach is below 1, and known:
`bayes_accuracy`. In the manner of the synthetic studies of partial information decomposition, such
as Liang et al. 2023, https://arxiv.org/abs/2302.12247.
"""

import itertools
from collections.abc import Callable, Mapping

import numpy as np
from jaxtyping import Int

from mmjax.data.arrays import Arrays
from mmjax.types import UserError

MODALITIES = ("a", "b", "c")
GROUPS = ("complete", *(f"without {name}" for name in MODALITIES))
FEATURES = 16
NOISE = 0.1  # standard deviation; prototypes are over 1 apart


def _shared(symbols: Int[np.ndarray, "n M"], classes: int) -> None:
    del classes
    symbols[:, 1:] = symbols[:, :1]


def _free(symbols: Int[np.ndarray, "n M"], classes: int) -> None:
    del symbols, classes


# For each task: what ties the true symbols together, and the label that they make.
TASKS: Mapping[str, tuple[Callable, Callable]] = {
    "redundant": (_shared, lambda symbols, _: symbols[:, 0]),
    "sum": (_free, lambda symbols, classes: symbols.sum(1) % classes),
    "unique": (_free, lambda symbols, _: symbols[:, 1]),
    "xor": (_free, lambda symbols, _: np.bitwise_xor.reduce(symbols % 2, axis=1)),
}


def bayes_accuracy(
    task: str, *, classes: int, flip: float, present: tuple[str, ...] = MODALITIES
) -> float:
    """The accuracy of the best possible answer from the shown symbols of the present modalities.

    Exact, by enumeration of all true and shown symbols.

    Args:
        task: a name in TASKS.
        classes: n, number of symbols.
        flip: probability that a shown symbol is drawn anew.
        present: the modalities that the answer may use.
    """
    tie, label = TASKS[task]
    drawn = np.array(list(itertools.product(range(classes), repeat=len(MODALITIES))))
    tie(drawn, classes)
    answers = label(drawn, classes)
    columns = [MODALITIES.index(name) for name in present]
    shown = np.array(list(itertools.product(range(classes), repeat=len(columns))), int)
    same = drawn[:, None, columns] == shown[None]
    likelihood = np.where(same, 1 - flip + flip / classes, flip / classes).prod(-1)
    joint = np.zeros((classes, len(shown)))
    np.add.at(joint, answers, likelihood / len(drawn))
    return float(joint.max(0).sum())


def controlled(
    *,
    seed: int = 0,
    task: str = "sum",
    classes: int = 5,
    flip: float = 0.05,
    missing: float = 0.1,
    train: int = 8192,
    validation: int = 1024,
    test: int = 1024,
) -> dict[str, Arrays]:
    """The splits train, validation and test; vectors float32 [examples 16] of a, b and c.

    The test split holds its examples four times: complete, and without each modality; the group
    says which.

    Args:
        seed: another seed gives other prototypes and examples.
        task: "redundant" (all show the label), "unique" (b shows it), "xor" (parity of the symbols'
            last bits) or "sum" (sum modulo n).
        classes: n, number of symbols and of labels; two labels for "xor".
        flip: probability that a shown symbol is drawn anew.
        missing: probability that a modality is absent in an example of training.
        train, validation, test: number of examples.

    Raises:
        UserError: an unknown task, or numbers out of range.
    """
    if task not in TASKS:
        raise UserError(f"controlled: unknown task {task!r}: choose one of {', '.join(TASKS)}")
    if classes < 2 or not 0 <= flip <= 1 or not 0 <= missing < 1:
        raise UserError(
            f"controlled: classes={classes}, flip={flip}, missing={missing}: give at least 2"
            " classes, and probabilities (missing below 1)"
        )
    prototypes = np.random.default_rng((seed, 0)).choice(
        [-1.0, 1.0], size=(len(MODALITIES), classes, FEATURES)
    )
    # A code word in the first bits keeps any two prototypes apart.
    bits = np.arange(classes)[:, None] >> np.arange(int(classes - 1).bit_length()) & 1
    prototypes[:, :, : bits.shape[1]] = 2 * bits - 1
    tie, label = TASKS[task]
    answers = tuple(map(str, range(2 if task == "xor" else classes)))
    lengths = {"train": train, "validation": validation, "test": test}
    splits = {}
    for number, (split, length) in enumerate(lengths.items(), start=1):
        rng = np.random.default_rng((seed, number))
        symbols = rng.integers(classes, size=(length, len(MODALITIES)))
        tie(symbols, classes)
        labels = label(symbols, classes)
        drawn = rng.integers(classes, size=symbols.shape)
        shown = np.where(rng.random(symbols.shape) < flip, drawn, symbols)
        vectors = prototypes[np.arange(len(MODALITIES)), shown]
        vectors += NOISE * rng.normal(size=vectors.shape)
        there = np.ones(symbols.shape, bool)
        kinds = np.zeros(length, np.int32)
        if split == "train":
            there = rng.random(symbols.shape) >= missing
        if split == "test":
            conditions = np.vstack([there[:1], ~np.eye(len(MODALITIES), dtype=bool)])
            kinds = np.arange(len(conditions), dtype=np.int32).repeat(length)
            there = conditions[kinds]
            vectors, labels = (np.concatenate([x] * len(conditions)) for x in (vectors, labels))
        splits[split] = Arrays(
            name=f"controlled/{split}",
            values={m: vectors[:, i].astype(np.float32) for i, m in enumerate(MODALITIES)},
            masks={m: np.ones_like(vectors[:, i], bool) for i, m in enumerate(MODALITIES)},
            labels=labels,
            kinds=kinds,
            answers=answers,
            groups=GROUPS,
            absent={m: ~there[:, i] for i, m in enumerate(MODALITIES)},
        )
    return splits

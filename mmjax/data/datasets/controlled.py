"""Controlled tasks: the label is carried by every modality, by one, or only by several together.

Each of the modalities a, b and c shows a symbol out of n, as a vector: the symbol's prototype and a
little Gaussian noise, far too little to mistake it. With probability `flip` a shown symbol is
replaced by one drawn at random, so the best accuracy that anything can reach is below 1, and known:
`bayes_accuracy`. In the manner of the synthetic studies of partial information decomposition, such
as Liang et al. 2023, https://arxiv.org/abs/2302.12247.

In the task "tags" any number of labels is right: all symbols that are meant in an example.

In the task "lookup" b shows a table instead: n steps in random order, each with a key and a value.
a shows a key, the label is its value, so a tells which step of b counts. Keys in the table are
never flipped.
"""

import itertools
from collections.abc import Callable, Mapping

import numpy as np
from jaxtyping import Float, Int

from mmjax.data.sources.arrays import Arrays
from mmjax.data.sources.targets import Target
from mmjax.errors import UserError

MODALITIES = ("a", "b", "c")
SLICES = ("complete", *(f"without {name}" for name in MODALITIES))
FEATURES = 16
NOISE = 0.1  # standard deviation; prototypes are over 1 apart


def _shared(symbols: Int[np.ndarray, "n M"]) -> None:
    symbols[:, 1:] = symbols[:, :1]


def _free(symbols: Int[np.ndarray, "n M"]) -> None:
    del symbols


TAGS = "tags"  # its label is one of several that are right: see `targets`
# For each task: what ties the true symbols together, and the label that they make.
TASKS: Mapping[str, tuple[Callable, Callable]] = {
    "redundant": (_shared, lambda symbols, _: symbols[:, 0]),
    "sum": (_free, lambda symbols, classes: symbols.sum(1) % classes),
    TAGS: (_free, lambda symbols, _: symbols[:, 0]),
    "unique": (_free, lambda symbols, _: symbols[:, 1]),
    "xor": (_free, lambda symbols, _: (symbols[:, 0] ^ symbols[:, 1]) & 1),
}
LOOKUP = "lookup"
NAMES = (*TASKS, LOOKUP)


def bayes_accuracy(
    task: str, *, classes: int, flip: float, present: tuple[str, ...] = MODALITIES
) -> float:
    """The accuracy of the best possible answer from the shown symbols of the present modalities.

    Exact, by enumeration of all true and shown symbols.

    Args:
        task: a name in NAMES.
        classes: n, number of symbols.
        flip: probability that a shown symbol is drawn anew.
        present: the modalities that the answer may use.
    """
    if task == LOOKUP:
        return _lookup_accuracy(classes, flip, present)
    tie, label = TASKS[task]
    drawn = np.array(list(itertools.product(range(classes), repeat=len(MODALITIES))))
    tie(drawn)
    answers = label(drawn, classes)
    columns = [MODALITIES.index(name) for name in present]
    shown = np.array(list(itertools.product(range(classes), repeat=len(columns))), int)
    same = drawn[:, None, columns] == shown[None]
    likelihood = np.where(same, 1 - flip + flip / classes, flip / classes).prod(-1)
    joint = np.zeros((classes, len(shown)))
    np.add.at(joint, answers, likelihood / len(drawn))
    return float(joint.max(0).sum())


def _lookup_accuracy(classes: int, flip: float, present: tuple[str, ...]) -> float:
    if "b" not in present:
        return 1 / classes
    # The probability of each value, given the shown values of all keys and the shown key.
    tables = np.array(list(itertools.product(range(classes), repeat=classes)))
    values = np.where(np.eye(classes, dtype=bool)[tables], 1 - flip, 0) + flip / classes
    keys = np.full((1, classes), 1 / classes)
    if "a" in present:
        keys = np.eye(classes) * (1 - flip) + flip / classes
    return float((keys @ values).max(-1).mean())


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

    Beside "label" there is the target "total", the sum of all three symbols as a number, and in the
    task "tags" the target "tags".

    In "lookup" b is float32 [examples n 32]: in each step a key's features, then its value's.
    The test split holds its examples four times: complete, and without each modality; the slice
    says which.

    Args:
        seed: another seed gives other prototypes and examples.
        task: "redundant" (all show the label), "unique" (b shows it), "xor" (of the last bits of
            a's and b's symbols), "sum" (of all three, modulo n), "tags" (all three are right) or
            "lookup" (b's value for a's key).
        classes: n, number of symbols and of labels; two labels for "xor".
        flip: probability that a shown symbol is drawn anew.
        missing: probability that a modality is absent in an example of training.
        train, validation, test: number of examples.

    Raises:
        UserError: an unknown task, or numbers out of range.
    """
    if task not in NAMES:
        raise UserError(f"controlled: unknown task {task!r}: choose one of {', '.join(NAMES)}")
    if classes < 2 or not 0 <= flip <= 1 or not 0 <= missing < 1:
        raise UserError(
            f"controlled: classes={classes}, flip={flip}, missing={missing}: give at least 2"
            " classes, and probabilities (missing below 1)"
        )
    prototypes = _prototypes(np.random.default_rng((seed, 0)), classes)
    answers = tuple(map(str, range(2 if task == "xor" else classes)))
    lengths = {"train": train, "validation": validation, "test": test}
    splits = {}
    for number, (split, length) in enumerate(lengths.items(), start=1):
        rng = np.random.default_rng((seed, number))
        values, labels, symbols = _draw(rng, prototypes, task, length, flip)
        slice_ids, there = np.zeros(length, np.int32), np.ones((length, len(MODALITIES)), bool)
        if split == "train":
            there = rng.random(there.shape) >= missing
        if split == "test":
            conditions = np.vstack([there[:1], ~np.eye(len(MODALITIES), dtype=bool)])
            slice_ids = np.arange(len(conditions), dtype=np.int32).repeat(length)
            there, labels = conditions[slice_ids], np.concatenate([labels] * len(conditions))
            symbols = np.concatenate([symbols] * len(conditions))
            values = {m: np.concatenate([v] * len(conditions)) for m, v in values.items()}
        targets = {
            "label": Target(labels, answers),
            "total": Target(symbols.sum(axis=1).astype(np.float32)),
        }
        if task == TAGS:
            targets[TAGS] = Target(np.eye(classes, dtype=np.float32)[symbols].max(1), answers)
        splits[split] = Arrays(
            name=f"controlled/{split}",
            values=values,
            masks={m: np.ones(v.shape[: max(2, v.ndim - 1)], bool) for m, v in values.items()},
            targets=targets,
            slice_ids=slice_ids,
            slices=SLICES,
            absent={m: ~there[:, i] for i, m in enumerate(MODALITIES)},
        )
    return splits


def _prototypes(rng: np.random.Generator, classes: int) -> Float[np.ndarray, "4 n F"]:
    """Of the symbols of a, b (in a table: its values) and c, and of the keys of a table."""
    prototypes = rng.choice([-1.0, 1.0], size=(len(MODALITIES) + 1, classes, FEATURES))
    # A code word in the first bits keeps any two prototypes apart.
    bits = np.arange(classes)[:, None] >> np.arange(int(classes - 1).bit_length()) & 1
    prototypes[:, :, : bits.shape[1]] = 2 * bits - 1
    return prototypes


def _draw(
    rng: np.random.Generator, prototypes: np.ndarray, task: str, length: int, flip: float
) -> tuple[dict[str, np.ndarray], Int[np.ndarray, " n"], Int[np.ndarray, "n M"]]:
    """What the modalities show, the labels, and the true symbols."""
    classes = prototypes.shape[1]

    def show(symbols: np.ndarray, number: int) -> np.ndarray:
        drawn = rng.integers(classes, size=symbols.shape)
        return prototypes[number, np.where(rng.random(symbols.shape) < flip, drawn, symbols)]

    symbols = rng.integers(classes, size=(length, len(MODALITIES)))
    if task == LOOKUP:
        order = rng.permuted(np.tile(np.arange(classes), (length, 1)), axis=1)
        table = rng.integers(classes, size=(length, classes))  # the value of each key
        labels = table[np.arange(length), symbols[:, 0]]
        steps = show(np.take_along_axis(table, order, axis=1), 1)
        values = {
            "a": show(symbols[:, 0], 0),
            "b": np.concatenate([prototypes[-1, order], steps], axis=-1),
            "c": show(symbols[:, 2], 2),
        }
    else:
        tie, label = TASKS[task]
        tie(symbols)
        labels = label(symbols, classes)
        values = {name: show(symbols[:, i], i) for i, name in enumerate(MODALITIES)}
    noisy = {
        m: (v + NOISE * rng.normal(size=v.shape)).astype(np.float32) for m, v in values.items()
    }
    return noisy, labels, symbols

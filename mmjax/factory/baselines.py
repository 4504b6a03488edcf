"""Linear models of simple features: what a model must do better than, by task.

Of each modality alone, and of all of them side by side: ridge regression of numbers, and of one
indicator for each class (scikit-learn), on rows of training and those of the test. The penalty is
that of PENALTIES which is best for the last HELD_OUT of the rows of training.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from mmjax.data.sources.targets import CATEGORIES, CATEGORY, NUMBER
from mmjax.factory.make_tasks import Questions
from mmjax.factory.tables.kinds import KINDS
from mmjax.train.experiment import Baselines
from mmjax.types import MASK, SLICE, TARGETS

ROWS = 4000  # of training and of the test that are read, at the most
ALL = "all"
PENALTIES, HELD_OUT = (10.0, 100.0, 1e3, 1e4), 0.2
METRICS = {CATEGORIES: "exact_match", CATEGORY: "accuracy", NUMBER: "rmse"}


class Asked(NamedTuple):
    """A target: its name, its type, the unit that a number is given in, and the number of the only
    slice whose examples are asked."""

    name: str
    type: str
    unit: float = 1.0
    slice: int | None = None


def asked_of(questions: Questions) -> dict[str, Asked]:
    """What each task of a run asks for, where a linear model can answer it."""
    found = {}
    for task, target in questions.given["train"].items():
        if target.type in METRICS:
            unit = questions.vocabularies[task][1] if target.type == NUMBER else 1.0
            number = questions.slices.get(task)
            found[task] = Asked(questions.names[task], target.type, unit, number)
    return found


def linear_scores(
    train: Iterable[Mapping[str, np.ndarray]],
    test: Iterable[Mapping[str, np.ndarray]],
    *,
    kinds: Mapping[str, str],
    targets: Mapping[str, Asked],
    rows: int = ROWS,
) -> dict[str, Baselines]:
    """The score of each linear model, by task: of each modality, and of ALL.

    It is the accuracy of classes, the share of rows of which all labels are right, and the root
    mean squared error of numbers.

    Args:
        train, test: batches; those of training may be without end.
        kinds: of each modality.
        targets: what is asked, by task.
        rows: of training that are different from each other; later ones are these again.
    """
    known = _read(train, kinds, targets, min(rows, ROWS))
    asked = _read(test, kinds, targets, ROWS)
    names = (*kinds, ALL) if len(kinds) > 1 else tuple(kinds)
    return {
        task: Baselines(
            METRICS[target.type],
            {f"linear, {name}": _score(target, name, known, asked) for name in names},
        )
        for task, target in targets.items()
    }


def _read(
    batches: Iterable[Mapping[str, np.ndarray]],
    kinds: Mapping[str, str],
    targets: Mapping[str, Asked],
    most: int,
) -> dict[str, np.ndarray]:
    """Features by modality, and targets with masks, of the first rows."""
    found: dict[str, list[np.ndarray]] = {}
    for batch in _some(batches, most):
        real = np.asarray(batch[MASK])
        found.setdefault(SLICE, []).append(np.asarray(batch[SLICE])[real])
        for name, kind in kinds.items():
            value, mask = (np.asarray(batch[key]) for key in (name, f"{name}_mask"))
            rows = KINDS[kind].simple(value, mask)
            index = batch.get(f"{name}_index")
            rows = rows if index is None else rows[np.asarray(index)]
            found.setdefault(name, []).append(rows[real])
        for name in dict.fromkeys(target.name for target in targets.values()):
            for key in (TARGETS + name, f"{TARGETS}{name}_mask"):
                found.setdefault(key, []).append(np.asarray(batch[key])[real])
    joined = {key: np.concatenate(parts)[:most] for key, parts in found.items()}
    joined[ALL] = np.concatenate([joined[name] for name in kinds], axis=1)
    return joined


def _some(
    batches: Iterable[Mapping[str, np.ndarray]], most: int
) -> Iterator[Mapping[str, np.ndarray]]:
    count = 0
    for batch in batches:
        yield batch
        count += int(np.sum(batch[MASK]))
        if count >= most:
            return


def _score(target: Asked, name: str, known: Mapping[str, Any], asked: Mapping[str, Any]) -> float:
    from sklearn.preprocessing import StandardScaler

    key = TARGETS + target.name
    there, wanted = (
        rows[f"{key}_mask"] & (target.slice is None or rows[SLICE] == target.slice)
        for rows in (known, asked)
    )
    scaler = StandardScaler().fit(known[name][there])
    train, test = (scaler.transform(x) for x in (known[name][there], asked[name][wanted]))
    score = MODELS[target.type](train, known[key][there], test, asked[key][wanted])
    return score * target.unit


def _classes(x: np.ndarray, y: np.ndarray, test: np.ndarray, wanted: np.ndarray) -> float:
    if len(np.unique(y)) < 2:
        return float(np.mean(wanted == y[0]))
    from sklearn.linear_model import RidgeClassifier

    return float(np.mean(_fitted(RidgeClassifier, x, y).predict(test) == wanted))


def _labels(x: np.ndarray, y: np.ndarray, test: np.ndarray, wanted: np.ndarray) -> float:
    from sklearn.linear_model import Ridge

    found = _fitted(Ridge, x, y).predict(test).reshape(wanted.shape)
    return float(np.mean(np.all((found > 0.5) == (wanted > 0.5), axis=1)))


def _numbers(x: np.ndarray, y: np.ndarray, test: np.ndarray, wanted: np.ndarray) -> float:
    from sklearn.linear_model import Ridge

    return float(np.sqrt(np.mean((_fitted(Ridge, x, y).predict(test) - wanted) ** 2)))


def _fitted(make: Callable[..., Any], x: np.ndarray, y: np.ndarray) -> Any:
    """A model of all rows, with the penalty that is best for the last of them."""
    cut = round((1 - HELD_OUT) * len(x))

    def score(alpha: float) -> float:
        model = make(alpha=alpha, solver="cholesky").fit(x[:cut], y[:cut])
        return model.score(x[cut:], y[cut:])

    enough = len(x) - cut > 1 and len(np.unique(y[:cut], axis=0)) > 1
    alpha = max(PENALTIES, key=score) if enough else PENALTIES[0]
    return make(alpha=alpha, solver="cholesky").fit(x, y)


MODELS: Mapping[str, Callable[..., Any]] = {
    CATEGORIES: _labels,
    CATEGORY: _classes,
    NUMBER: _numbers,
}

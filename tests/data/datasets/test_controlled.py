import numpy as np
import pytest

from mmjax.data.datasets.controlled import FEATURES, MODALITIES, TASKS, bayes_accuracy, controlled
from mmjax.errors import UserError


def symbols_shown(split, prototypes):
    """The symbol that each vector shows, by its nearest prototype."""
    return np.stack(
        [
            ((split.values[name][:, None] - prototypes[i]) ** 2).sum(-1).argmin(1)
            for i, name in enumerate(MODALITIES)
        ],
        axis=1,
    )


def clusters(split):
    """The prototypes, recovered from the data: vectors of one symbol have one sign pattern."""
    return [np.unique(np.sign(split.values[name]), axis=0) for name in MODALITIES]


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("classes", [2, 5])
def test_the_best_answer_from_what_is_shown_has_the_bayes_accuracy(task, classes):
    """A table of all shown symbols, filled from training, answers the test set."""
    splits = controlled(
        task=task, classes=classes, flip=0.2, missing=0.0, train=50_000, test=20_000
    )
    prototypes = clusters(splits["train"])
    assert all(len(p) == classes for p in prototypes)
    for slice_id, absent in enumerate((None, 0, 1, 2)):
        kept = [i for i in range(3) if i != absent]
        present = tuple(MODALITIES[i] for i in kept)
        size = classes ** len(kept)
        weights = classes ** np.arange(len(kept))
        train, test = splits["train"], splits["test"]
        counts = np.zeros((size, classes))
        np.add.at(
            counts,
            (symbols_shown(train, prototypes)[:, kept] @ weights, train.targets["label"].values),
            1,
        )
        chosen = test.slice_ids == slice_id
        best = counts.argmax(1)[symbols_shown(test, prototypes)[chosen][:, kept] @ weights]
        reached = (best == test.targets["label"].values[chosen]).mean()
        exact = bayes_accuracy(task, classes=classes, flip=0.2, present=present)
        np.testing.assert_allclose(reached, exact, atol=0.012)


def test_looking_up_has_the_bayes_accuracy():
    """The answer: the value shown beside the key that a shows; without a, the commonest value."""
    splits = controlled(task="lookup", classes=4, flip=0.2, train=50_000, test=20_000)
    train, test = splits["train"], splits["test"]
    table = np.sign(test.values["b"])
    # What each pattern stands for: of keys whatever number, of values the label seen beside it.
    keys = np.unique(table[..., :FEATURES].reshape(-1, FEATURES), axis=0)
    values = np.unique(table[..., FEATURES:].reshape(-1, FEATURES), axis=0)
    queries = np.unique(np.sign(test.values["a"]), axis=0)
    assert len(keys) == len(values) == len(queries) == 4

    def shown(split):
        table = np.sign(split.values["b"])
        key = (table[:, :, None, :FEATURES] == keys).all(-1).argmax(-1)
        assert (np.sort(key) == np.arange(4)).all()
        value = (table[:, :, None, FEATURES:] == values).all(-1).argmax(-1)
        query = (np.sign(split.values["a"])[:, None] == queries).all(-1).argmax(-1)
        return query, np.take_along_axis(value, key.argsort(1), axis=1)

    query, value = shown(train)
    counts = np.zeros((4, 4, 4, 4))  # query, key, value, label
    for key in range(4):
        np.add.at(counts, (query, key, value[:, key], train.targets["label"].values), 1)
    key_of = counts.max(-1).sum(-1).argmax(1)
    label_of = counts.sum((0, 1)).argmax(1)
    assert sorted(key_of) == sorted(label_of) == [0, 1, 2, 3]
    query, value = shown(test)
    complete, without_a = test.slice_ids == 0, test.slice_ids == 1
    picked = label_of[value[np.arange(len(query)), key_of[query]]]
    reached = (picked == test.targets["label"].values)[complete].mean()
    np.testing.assert_allclose(reached, bayes_accuracy("lookup", classes=4, flip=0.2), atol=0.012)
    commonest = np.eye(4)[label_of[value]].sum(1).argmax(1)
    reached = (commonest == test.targets["label"].values)[without_a].mean()
    best = bayes_accuracy("lookup", classes=4, flip=0.2, present=("b", "c"))
    np.testing.assert_allclose(reached, best, atol=0.012)


def test_known_values():
    assert bayes_accuracy("unique", classes=4, flip=0.2) == pytest.approx(0.85)
    assert bayes_accuracy("unique", classes=4, flip=0.2, present=("a", "c")) == pytest.approx(0.25)
    # A shown bit is wrong with probability 0.1; two wrong ones leave the answer.
    assert bayes_accuracy("xor", classes=2, flip=0.2) == pytest.approx(0.9**2 + 0.1**2)
    assert bayes_accuracy("xor", classes=2, flip=0.2, present=("a", "c")) == pytest.approx(0.5)
    # The shown key is right with 0.85, and so is the value; a wrong key hits with 1/4.
    assert bayes_accuracy("lookup", classes=4, flip=0.2) == pytest.approx(0.85**2 + 0.15 / 4)
    assert bayes_accuracy("lookup", classes=4, flip=0.2, present=("a", "c")) == pytest.approx(0.25)
    # Two values that agree (half of the tables) or not: 1 or 1/2.
    assert bayes_accuracy("lookup", classes=2, flip=0.0, present=("b",)) == pytest.approx(0.75)
    assert bayes_accuracy("sum", classes=5, flip=0.0) == pytest.approx(1)
    assert bayes_accuracy("sum", classes=5, flip=0.0, present=("b",)) == pytest.approx(0.2)
    assert bayes_accuracy("redundant", classes=3, flip=0.0, present=("c",)) == pytest.approx(1)
    assert bayes_accuracy("redundant", classes=3, flip=0.5, present=()) == pytest.approx(1 / 3)


def test_the_test_split_shows_its_examples_under_every_condition():
    test = controlled(test=10, validation=1, train=1)["test"]
    assert test.slices[2] == "without b"
    assert len(test) == 40
    for slice_id in range(4):
        chosen = test.slice_ids == slice_id
        np.testing.assert_array_equal(test.values["a"][chosen], test.values["a"][:10])
        for i, name in enumerate(MODALITIES, start=1):
            assert (test.absent[name][chosen] == (slice_id == i)).all()


def test_modalities_are_missing_in_training_alone_and_as_often_as_asked():
    splits = controlled(missing=0.3, train=20_000)
    for name in MODALITIES:
        assert abs(splits["train"].absent[name].mean() - 0.3) < 0.02
        assert not splits["validation"].absent[name].any()


def test_a_seed_fixes_everything_and_another_changes_it():
    one, same, other = controlled(seed=3), controlled(seed=3), controlled(seed=4)
    np.testing.assert_array_equal(one["train"].values["a"], same["train"].values["a"])
    assert (one["train"].values["a"] != other["train"].values["a"]).any()
    assert (
        one["train"].targets["label"].values[:1024] != one["test"].targets["label"].values[:1024]
    ).any()


@pytest.mark.parametrize(
    "options", [{"task": "and"}, {"classes": 1}, {"flip": 1.5}, {"missing": 1.0}]
)
def test_mistakes_are_told(options):
    with pytest.raises(UserError, match="controlled: "):
        controlled(**options)

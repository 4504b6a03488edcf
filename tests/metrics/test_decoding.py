"""The best path against a loop over the frames that count."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.metrics.decoding import best_path

decode = jax.jit(best_path, static_argnames="blank")


def said(logits, mask, blank=0):
    """The labels of each row, read off by hand."""
    rows = []
    for row, real in zip(logits, mask, strict=True):
        path = [int(np.argmax(frame)) for frame, there in zip(row, real, strict=True) if there]
        rows.append([label for label, _ in itertools.groupby(path) if label != blank])
    return rows


def found(logits, mask, **options):
    labels, there = decode(jnp.asarray(logits), jnp.asarray(mask), **options)
    labels, there = np.asarray(labels), np.asarray(there)
    # From the left, without a gap, and blanks behind.
    lengths = there.sum(axis=1)
    np.testing.assert_array_equal(there, np.arange(there.shape[1]) < lengths[:, None])
    assert (labels[~there] == options.get("blank", 0)).all()
    return [row[:n].tolist() for row, n in zip(labels, lengths, strict=True)]


def path(*labels, classes=6):
    return np.eye(classes, dtype=np.float32)[list(labels)][None]


@pytest.mark.parametrize("blank", [0, 2])
@pytest.mark.parametrize("classes", [3, 6])
def test_it_is_what_a_loop_reads_off(classes, blank):
    rng = np.random.default_rng(classes)
    logits = rng.normal(size=(64, 9, classes)).astype(np.float32)
    mask = rng.uniform(size=(64, 9)) < rng.uniform(size=(64, 1))  # with gaps, and whole rows
    assert found(logits, mask, blank=blank) == said(logits, mask, blank)


def test_the_docstring_says_335():
    assert found(path(3, 3, 0, 3, 5, 5, 0), np.ones((1, 7), bool)) == [[3, 3, 5]]


def test_what_is_masked_is_between_no_neighbours():
    mask = np.array([[True, False, True, True]])
    assert found(path(3, 0, 3, 4), mask) == [[3, 4]]
    for label in range(6):
        assert found(path(3, label, 3, 4), mask) == [[3, 4]]
    logits = path(3, 0, 3, 4)
    logits[0, 1] = np.nan
    assert found(logits, mask) == [[3, 4]]


def test_degenerate_rows():
    ones = np.ones((1, 4), bool)
    assert found(path(0, 0, 0, 0), ones) == [[]]
    assert found(path(1, 2, 1, 2), ones) == [[1, 2, 1, 2]]  # every frame a label
    assert found(path(1, 2, 1, 2), ~ones) == [[]]
    assert found(path(5), ones[:, :1]) == [[5]]
    assert found(path(0), ones[:, :1]) == [[]]
    tied = np.zeros((1, 4, 3), np.float32)
    assert found(tied, ones) == [[]]  # the lowest wins: the blank
    assert found(tied, ones, blank=2) == [[0]]

"""Greedy generation against a loop in plain numpy, for a model that is a table."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.models.generation import OPEN, greedy

SIZE, LENGTH = 9, 12
# Logits of the next id: by the last two ids, and by the position.
TABLE = np.random.default_rng(0).normal(size=(SIZE, SIZE, LENGTH, SIZE)).astype(np.float32)
PROMPT = np.array([[1, 2, 3], [4, OPEN, 5], [6, OPEN, OPEN], [7, 7, 7]], np.int32)


def step(ids, position, cache):
    """The cache is the id before."""
    return jnp.asarray(TABLE)[cache, ids[:, 0], position], ids[:, 0]


def expected(prompt, ends):
    rows = []
    for given in prompt.tolist():
        ids, before = [given[0]], 0
        while len(ids) < LENGTH:
            own = int(TABLE[before, ids[-1], len(ids) - 1].argmax())
            before, place = ids[-1], len(ids)
            ids.append(given[place] if place < len(given) and given[place] != OPEN else own)
            if place >= len(given) and ids[-1] in ends:
                break
        rows.append(ids)
    return rows


def run(prompt, ends, **options):
    over = jnp.zeros(SIZE, bool).at[jnp.array(ends, int)].set(True)
    cache = jnp.zeros(len(prompt), jnp.int32)
    generate = jax.jit(functools.partial(greedy, step, length=LENGTH, **options))
    return np.asarray(generate(cache, jnp.asarray(prompt), over))


@pytest.mark.parametrize("ends", [[], [3], [0, 5, 8]])
def test_the_likeliest_id_follows_up_to_an_end(ends):
    for found, row in zip(run(PROMPT, ends), expected(PROMPT, ends), strict=True):
        assert found[: len(row)].tolist() == row


def test_it_stops_when_all_rows_have_ended():
    found = run(PROMPT, list(range(SIZE)))
    assert (found[:, 4:] == 0).all()
    np.testing.assert_array_equal(found[:, :4], [row[:4] for row in expected(PROMPT, [])])


def test_the_ids_are_those_that_are_chosen():
    def lowest(logits, ids, position):
        assert ids.shape == (len(PROMPT), LENGTH)
        return jnp.where(position == 4, 8, jnp.argmin(logits, axis=1)).astype(jnp.int32)

    found = run(PROMPT, [], choose=lowest)
    assert (found[:, 4] == 8).all()
    for row, given in zip(found, PROMPT, strict=True):
        assert (row[:3][given != OPEN] == given[given != OPEN]).all()
        assert row[3] == TABLE[row[1], row[2], 2].argmin()

"""How often hard negatives are drawn."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from mmjax.nn.layers.negatives import hard_negatives

SIMILARITIES = jnp.array(
    [[9.0, 1, 0, 2, 1], [0, 9, 1, -1, 3], [0, 0, 9, 0, 0], [2, 2, 8, 9, 1], [1, 1, 1, 1, 9]]
)


def drawn(draws=4000, similarities=SIMILARITIES, **options):
    """How often each column is drawn [B B], and whether a row found one."""
    draw = jax.vmap(lambda key: hard_negatives(key, similarities, **options))
    index, found = draw(jax.random.split(jax.random.key(0), draws))
    assert (found == found[0]).all()
    return np.array(jax.nn.one_hot(index, similarities.shape[1]).mean(0)), found[0]


@pytest.mark.parametrize("case", ["plain", "masked", "positives", "both"])
def test_negatives_are_drawn_in_proportion(case):
    mask, positives = np.ones(5, bool), np.eye(5, dtype=bool)
    options = {}
    if case in ("masked", "both"):
        mask[3] = False
        options["mask"] = jnp.array(mask)
    if case in ("positives", "both"):
        positives[0, 2] = positives[2, 0] = positives[3, 2] = True
        options["positives"] = jnp.array(positives)
    expected = np.zeros((5, 5))
    for i in range(5):
        allowed = [j for j in range(5) if mask[i] and mask[j] and not positives[i, j]]
        for j in allowed or [i]:
            among = [math.exp(SIMILARITIES[i, k]) for k in allowed] or [1.0]
            expected[i, j] = (math.exp(SIMILARITIES[i, j]) if allowed else 1.0) / sum(among)
    got, found = drawn(**options)
    np.testing.assert_allclose(got, expected, atol=0.03)  # four standard deviations of 4000 draws
    assert (got[expected == 0] == 0).all()
    np.testing.assert_array_equal(found, mask)


def test_a_row_without_negatives_has_its_own_index():
    positives = jnp.eye(5, dtype=bool).at[1].set(True)
    got, found = drawn(draws=20, positives=positives)
    assert got[1, 1] == 1
    np.testing.assert_array_equal(found, [True, False, True, True, True])
    for options in ({"similarities": jnp.ones((1, 1))}, {"mask": jnp.zeros(5, bool)}):
        got, found = drawn(draws=20, **options)
        np.testing.assert_array_equal(got, np.eye(len(got)))
        assert not found.any()


def test_what_is_masked_is_never_drawn_whatever_it_holds():
    mask = jnp.array([True, True, False, True, True])
    changed = SIMILARITIES.at[2].set(jnp.nan).at[:, 2].set(jnp.nan)
    got, _ = drawn(draws=100, similarities=changed, mask=mask)
    np.testing.assert_array_equal(got, drawn(draws=100, mask=mask)[0])


def test_without_a_key_the_most_similar_is_taken():
    positives = jnp.eye(5, dtype=bool).at[0, 3].set(True)
    mask = jnp.array([True, True, True, True, False])
    index, found = hard_negatives(None, SIMILARITIES, mask=mask, positives=positives)
    np.testing.assert_array_equal(index, [1, 2, 0, 2, 4])
    np.testing.assert_array_equal(found, mask)


@pytest.mark.parametrize("scale", [1e4, -1e4])
def test_extreme_similarities_draw_the_hardest(scale):
    similarities = scale * jnp.array([[1.0, 2, 3], [0, 5, 1], [4, 4.5, 6]])
    got, found = drawn(draws=50, similarities=similarities.astype(jnp.bfloat16))
    hardest = [2, 2, 1] if scale > 0 else [1, 0, 0]
    np.testing.assert_array_equal(got, np.eye(3)[hardest])
    assert found.all()


def test_eight_devices_draw_what_one_draws():
    similarities = jax.random.normal(jax.random.key(1), (16, 16))
    rows = NamedSharding(Mesh(np.array(jax.devices()), ("data",)), PartitionSpec("data"))
    draw = jax.jit(hard_negatives)
    one = draw(jax.random.key(0), similarities)[0]
    eight = draw(jax.random.key(0), jax.device_put(similarities, rows))[0]
    np.testing.assert_array_equal(one, eight)

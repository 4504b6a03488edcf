"""The sequence-to-sequence decoder: its cache, and exact masks of ids and of encoder states."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.backbones.text.decoder import TextDecoder
from mmjax.errors import UserError

DECODER = TextDecoder(12, layers=2, heads=3, mlp_width=20, vocabulary_size=11, positions=6)
IDS = jnp.array([[1, 2, 3, 4, 5], [6, 7, 8, 9, 10], [3, 3, 0, 1, 2]])
STATES = jnp.asarray(np.random.default_rng(0).normal(size=(3, 4, 7)), jnp.float32)
MASK = jnp.array([[1, 1, 1, 1], [1, 0, 1, 0], [0, 0, 0, 0]], bool)


@pytest.fixture(scope="module")
def variables():
    shapes = jax.eval_shape(DECODER.init, jax.random.PRNGKey(0), IDS, STATES)
    random = np.random.default_rng(1)
    return jax.tree.map(lambda x: jnp.asarray(random.normal(size=x.shape) * 0.4), shapes)


def logits(variables, ids, states, mask=None, encoder_mask=None):
    return DECODER.apply(variables, ids, states, mask, None, encoder_mask)["logits"]


@pytest.mark.parametrize("encoder_mask", [None, MASK])
def test_steps_with_a_cache_equal_the_whole(variables, encoder_mask):
    whole = logits(variables, IDS, STATES, encoder_mask=encoder_mask)
    step = functools.partial(DECODER.apply, method="step", mutable=["cache"], length=6)
    cache = {}
    for place in range(5):
        # After the first step, the cache has all that is read of the encoder states.
        states = STATES if place == 0 else jnp.full_like(STATES, jnp.nan)
        given = (IDS[:, place : place + 1], jnp.int32(place), states, encoder_mask)
        found, cache = step({**variables, **cache}, *given)
        np.testing.assert_allclose(found, whole[:, place], atol=2e-5)


def test_an_id_reads_those_before_it_only(variables):
    def third(table):
        changed = {**variables["params"], "positions": table}
        return jnp.sum(logits({"params": changed}, IDS, STATES)[:, 2] ** 2)

    gradient = jax.grad(third)(variables["params"]["positions"])
    assert (gradient[3:] == 0).all()
    assert (jnp.abs(gradient[:3]).max(axis=1) > 0).all()


def test_masked_encoder_states_contribute_exactly_nothing(variables):
    run = jax.jit(lambda states: logits(variables, IDS, states, encoder_mask=MASK))
    other = jnp.where(MASK[..., None], STATES, 100 * STATES + 7)
    assert (run(STATES) == run(other)).all()
    assert not (run(STATES) == run(STATES + 1)).all()
    gradient = jax.grad(lambda states: jnp.sum(run(states) ** 2))(STATES)
    assert (gradient[~MASK] == 0).all()
    assert (jnp.abs(gradient[MASK]).max(axis=1) > 0).all()
    assert jnp.isfinite(run(STATES)).all()


def test_masked_ids_contribute_exactly_nothing(variables):
    real = jnp.array([[1, 1, 0, 1, 1], [1, 1, 1, 1, 0], [1, 0, 0, 0, 0]], bool)
    run = jax.jit(lambda ids: logits(variables, ids, STATES, mask=real))
    first, second = run(IDS), run(jnp.where(real, IDS, 9))
    assert (first[real] == second[real]).all()
    assert jnp.isfinite(first).all()


def test_too_many_ids_are_refused(variables):
    with pytest.raises(UserError, match="7 words, but the model takes 6"):
        logits(variables, jnp.zeros((1, 7), int), STATES[:1])

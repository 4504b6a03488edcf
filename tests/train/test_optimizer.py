import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mmjax.train import optimizer
from mmjax.types import UserError

PARAMS = {
    "encoder": {"dense": {"kernel": jnp.ones((3, 2)), "bias": jnp.ones(2)}},
    "norm": {"scale": jnp.ones((2, 2)), "center": jnp.ones(2)},
    "head": {"kernel": jnp.ones((2, 4)), "bias": jnp.ones((2, 2))},
}
GRADS = jax.tree.map(jnp.zeros_like, PARAMS)


def count(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def fixed(_):
    return 0.1


def test_decay_spares_biases_norms_and_vectors():
    assert optimizer.decay_mask(PARAMS) == {
        "encoder": {"dense": {"kernel": True, "bias": False}},
        "norm": {"scale": False, "center": False},
        "head": {"kernel": True, "bias": False},
    }


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_with_a_zero_gradient_only_decayed_parameters_move(name):
    transform = getattr(optimizer, name)(fixed, weight_decay=0.5)
    updates, _ = transform.update(GRADS, transform.init(PARAMS), PARAMS)
    moved = jax.tree.map(lambda u: bool((u != 0).all()), updates)
    assert moved == optimizer.decay_mask(PARAMS)
    assert not any((u != 0).any() for u in jax.tree.leaves(updates["norm"]))


def test_frozen_parameters_keep_their_value_and_have_no_state():
    grads = jax.tree.map(jnp.ones_like, PARAMS)
    free = optimizer.make_optimizer(optimizer.adamw(fixed), params=PARAMS)
    frozen = optimizer.make_optimizer(
        optimizer.adamw(fixed), params=PARAMS, freeze=("^encoder/", "scale$"), clip_norm=1.0
    )
    state = frozen.init(PARAMS)
    updates, _ = frozen.update(grads, state, PARAMS)
    moved = jax.tree.map(lambda u: bool((u != 0).any()), updates)
    assert moved == {
        "encoder": {"dense": {"kernel": False, "bias": False}},
        "norm": {"scale": False, "center": True},
        "head": {"kernel": True, "bias": True},
    }
    saved = count(free.init(PARAMS)) - count(state)
    assert saved == 2 * (6 + 2 + 4)  # first and second moments


@pytest.mark.parametrize(("pattern", "words"), [("^encodr/", "matches no"), ("(", "regular")])
def test_a_wrong_pattern_is_an_error_that_says_so(pattern, words):
    with pytest.raises(UserError, match=words):
        optimizer.make_optimizer(optimizer.sgd(fixed), params=PARAMS, freeze=(pattern,))


def test_accumulation_applies_the_mean_gradient_at_every_nth_batch():
    transform = optimizer.make_optimizer(
        optimizer.sgd(fixed, momentum=0.0), params=PARAMS, accumulate=3
    )
    state, params = transform.init(PARAMS), PARAMS
    for i in range(3):
        grads = jax.tree.map(lambda p, i=i: jnp.full_like(p, float(i)), PARAMS)
        updates, state = transform.update(grads, state, params)
        params = optax.apply_updates(params, updates)
        expected = 1.0 if i < 2 else 1.0 - 0.1 * 1.0
        np.testing.assert_allclose(params["head"]["kernel"], expected, rtol=1e-6)


def test_clipping_bounds_the_step():
    transform = optimizer.make_optimizer(
        optimizer.sgd(lambda _: 1.0, momentum=0.0), params=PARAMS, clip_norm=0.5
    )
    grads = jax.tree.map(lambda p: 100 * jnp.ones_like(p), PARAMS)
    updates, _ = transform.update(grads, transform.init(PARAMS), PARAMS)
    np.testing.assert_allclose(optax.tree.norm(updates), 0.5, rtol=1e-5)


def test_schedules_start_at_zero_peak_after_warmup_and_end_where_said():
    cosine = optimizer.warmup_cosine(learning_rate=2.0, steps=100, warmup_steps=10, end_factor=0.1)
    values = [float(cosine(step)) for step in (0, 5, 10, 55, 100, 200)]
    np.testing.assert_allclose(values, [0, 1, 2, 1.1, 0.2, 0.2], rtol=1e-5)
    linear = optimizer.constant(learning_rate=2.0, steps=100, warmup_steps=0, end_factor=1.0)
    assert [float(linear(step)) for step in (0, 50, 100)] == [2.0, 2.0, 2.0]

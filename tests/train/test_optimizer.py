import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mmjax.errors import UserError
from mmjax.train import optimizer, partition

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


def test_accumulated_gradients_are_kept_of_what_trains_only():
    trains = jax.tree.map(lambda p: p.ndim > 1, PARAMS)
    transform = optimizer.make_optimizer(
        optimizer.adamw(fixed), params=PARAMS, accumulate=2, trains=trains, freeze=("^head",)
    )
    state = transform.init(PARAMS)
    held = sum(leaf.size for leaf in jax.tree.leaves(state) if leaf.ndim)
    assert held == 3 * (6 + 4)  # two moments and the gradient, of a kernel and a scale


def run(transform, steps, grads=None):
    """The parameters after each step, and the last state."""
    grads = jax.tree.map(jnp.ones_like, PARAMS) if grads is None else grads
    params, state, seen = PARAMS, transform.init(PARAMS), []
    update = jax.jit(transform.update)
    for _ in range(steps):
        updates, state = update(grads, state, params)
        params = optax.apply_updates(params, updates)
        seen.append(params)
    return seen, state


def layer_wise(make, schedule, *, factors=None, first=None, **options):
    factors = jax.tree.map(lambda _: 1.0, PARAMS) if factors is None else factors
    first = jax.tree.map(lambda _: 0, PARAMS) if first is None else first
    base = optimizer.layer_wise(make, schedule, factors, first)
    return optimizer.make_optimizer(base, params=PARAMS, first=first, **options)


def falling(count):
    return 0.1 / (1 + count)


def adam(schedule):
    return optimizer.adamw(schedule, weight_decay=0.5)


def test_with_equal_paces_it_is_the_plain_optimizer():
    plain = optimizer.make_optimizer(adam(falling), params=PARAMS, clip_norm=0.7)
    expected, state = run(plain, 4)
    seen, state_too = run(layer_wise(adam, falling, clip_norm=0.7), 4)
    jax.tree.map(np.testing.assert_array_equal, seen[-1], expected[-1])
    vectors = [sum(x.size for x in jax.tree.leaves(s) if x.ndim) for s in (state, state_too)]
    assert vectors[0] == vectors[1]


def test_a_factor_scales_the_whole_update():
    factors = jax.tree.map(lambda _: 0.25, PARAMS) | {"norm": {"scale": 1.0, "center": 1.0}}
    seen, _ = run(layer_wise(adam, falling, factors=factors), 1)
    whole, _ = run(optimizer.make_optimizer(adam(falling), params=PARAMS), 1)

    def check(after, full, before, factor):
        np.testing.assert_allclose(after - before, factor * (full - before), rtol=1e-5)

    jax.tree.map(check, seen[0], whole[0], PARAMS, factors)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_what_is_unfrozen_late_rests_and_then_starts_fresh_at_the_schedules_rate(accumulate):
    first = partition.first_updates(PARAMS, (("^encoder", 3),), accumulate)
    assert first["encoder"]["dense"]["kernel"] == (3 if accumulate == 1 else 2)
    transform = layer_wise(adam, falling, first=first, accumulate=accumulate)
    updates = first["encoder"]["dense"]["kernel"]
    seen, state = run(transform, updates * accumulate)
    for params in seen:
        np.testing.assert_array_equal(params["encoder"]["dense"]["kernel"], 1.0)
    moments = [x for x in jax.tree.leaves(state) if x.shape == (3, 2)]
    assert moments
    assert all((x == 0).all() for x in moments)
    seen, _ = run(transform, (updates + 1) * accumulate)
    # Adam's first step is the rate, and weight decay adds to it.
    step = 1 - seen[-1]["encoder"]["dense"]["kernel"]
    np.testing.assert_allclose(step, falling(updates) * (1 + 0.5), rtol=1e-4)


def test_until_it_is_unfrozen_a_gradient_does_not_count_for_the_norm_that_clips_the_others():
    def make(schedule):
        return optimizer.sgd(schedule, momentum=0.0)

    first = partition.first_updates(PARAMS, (("^encoder", 2),))
    seen, _ = run(layer_wise(make, fixed, first=first, clip_norm=1.0), 3)
    moved = [1.0] + [float(params["head"]["kernel"][0, 0]) for params in seen]
    steps = -np.diff(moved) / 0.1
    # Gradients of ones: 18 of 26 entries train at first.
    np.testing.assert_allclose(steps, [18**-0.5, 18**-0.5, 26**-0.5], rtol=1e-5)


DEEP = {
    "encoders_a": {
        "words": {"embedding": 0},
        "patches": {"projection": {"kernel": 0}},
        "transformer": {
            **{f"block_{i}": {"mlp": {"bias": i}} for i in range(12)},
            "norm": {"b": 0},
        },
        "projection": {"kernel": 0},
    },
    "encoders_b": {"stem": 0, "stage_0_block_1": 0, "stage_1_block_0": 0, "stage_0_block_0": 0},
    "encoders_c": {"dense_0": {"kernel": 0}},
    "heads_label": {"layer_0": 0},
    "lora": {"encoders_a": {"transformer": {"block_3": {"out": {"a": 0}}}}},
}


def test_layer_decay_follows_beit():
    factors = partition.layer_factors(DEEP, 0.5)
    a = factors["encoders_a"]
    assert a["words"]["embedding"] == a["patches"]["projection"]["kernel"] == 0.5**13
    for i in range(12):
        assert a["transformer"][f"block_{i}"]["mlp"]["bias"] == 0.5 ** (12 - i)
    assert a["transformer"]["norm"]["b"] == a["projection"]["kernel"] == 1.0
    stages = ("stem", "stage_0_block_0", "stage_0_block_1", "stage_1_block_0")
    assert [factors["encoders_b"][name] for name in stages] == [1 / 16, 1 / 8, 1 / 4, 1 / 2]
    assert factors["encoders_c"]["dense_0"]["kernel"] == factors["heads_label"]["layer_0"] == 1.0
    assert factors["lora"]["encoders_a"]["transformer"]["block_3"]["out"]["a"] == 0.5**9
    stacked = {**DEEP, "encoders_d": {"transformer": {"block": {"kernel": 0}}}}
    with pytest.raises(UserError, match=r"encoders_d/transformer/block/kernel is of all blocks"):
        partition.layer_factors(stacked, 0.5)
    with pytest.raises(UserError, match="no encoder has parameters named block_N"):
        partition.layer_factors(PARAMS, 0.5)


@pytest.mark.parametrize(
    ("unfreeze", "words"),
    [
        ((("^encodr", 3),), "'\\^encodr' matches no parameter"),
        ((("^encoder", -1),), "give a pattern and a step"),
        (("^encoder",), "give a pattern and a step"),
        ({"^head": 1.5}, "give a pattern and a step"),
    ],
)
def test_a_wrong_table_of_unfreezing_is_one_line(unfreeze, words):
    with pytest.raises(UserError, match=f"config.optimizer.unfreeze: .*{words}"):
        partition.first_updates(PARAMS, unfreeze)


def test_the_last_pattern_counts():
    first = partition.first_updates(PARAMS, {"": 4, "^head": 1})
    assert first["head"] == {"kernel": 1, "bias": 1}
    assert first["norm"] == {"scale": 4, "center": 4}


def test_what_is_selected_is_filled_up_again():
    trains = jax.tree.map(lambda p: p.ndim > 1, PARAMS)
    chosen = partition.select(PARAMS, trains)
    assert count(chosen) == 6 + 4 + 8 + 4
    doubled = partition.map_selected(lambda a, p: a + p, chosen, PARAMS)
    filled = partition.fill(doubled, PARAMS)
    jax.tree.map(lambda f, t: np.testing.assert_array_equal(f, 1.0 + t), filled, trains)
    assert partition.select(PARAMS, None) is PARAMS
    assert partition.fill(PARAMS, DEEP) is PARAMS
    assert partition.to_restore(PARAMS, trains, ema=False) == {"params": PARAMS}
    assert partition.to_restore(PARAMS, trains, ema=True).keys() == {"params", "ema_params"}
    assert partition.to_restore(PARAMS, None, ema=True) == {"ema_params": PARAMS}

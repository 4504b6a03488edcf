"""Temporal alignment against loops over real tokens, and what it can learn."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.test_util import check_grads

from mmjax.errors import UserError
from mmjax.nn.layers.alignment import TemporalAlignment
from mmjax.types import Tokens

LAYER = TemporalAlignment(8, heads=2, window=0.15, duration=2.0)
QUERY_MASK = np.array([[1, 1, 1, 1], [1, 0, 1, 0], [0, 0, 0, 0], [1, 1, 1, 1]], bool)
KEY_MASK = np.array([[1] * 6, [0, 1, 1, 0, 0, 1], [1, 1, 0, 0, 0, 0], [0] * 6], bool)


def example():
    """Queries, keys, their times, and parameters drawn at random."""
    random = np.random.default_rng(0)
    queries = Tokens(
        jnp.asarray(random.normal(size=(4, 4, 3)), jnp.float32), jnp.asarray(QUERY_MASK)
    )
    keys = Tokens(jnp.asarray(random.normal(size=(4, 6, 5)), jnp.float32), jnp.asarray(KEY_MASK))
    times = [jnp.asarray(random.uniform(0, 2, size=(4, n)), jnp.float32) for n in (4, 6)]
    params = {
        "offset": random.normal(size=2) * 0.3,
        "log_window": np.log(random.uniform(0.2, 0.6, size=2)),
        "q": {"kernel": random.normal(size=(3, 8))},
        "k": {"kernel": random.normal(size=(5, 8))},
    }
    params = jax.tree.map(lambda p: jnp.asarray(p, jnp.float32), params)
    return queries, keys, times, {"params": params}


def oracle(queries, keys, times, variables):
    """One query, one head, one real key after the other."""
    params = jax.tree.map(np.asarray, variables["params"])
    weights = np.zeros((4, 4, 6))
    for row in range(4):
        real = np.flatnonzero(KEY_MASK[row])
        if not len(real):
            continue
        for i in np.flatnonzero(QUERY_MASK[row]):
            for head in range(2):
                part = slice(4 * head, 4 * head + 4)
                q = np.asarray(queries.x)[row, i] @ params["q"]["kernel"][:, part]
                scores = []
                for j in real:
                    k = np.asarray(keys.x)[row, j] @ params["k"]["kernel"][:, part]
                    late = times[1][row, j] - times[0][row, i] - params["offset"][head]
                    window = np.exp(params["log_window"][head])
                    scores.append(q @ k / 2 - (late / window) ** 2 / 2)
                share = np.exp(np.array(scores) - max(scores))
                weights[row, i, real] += share / share.sum() / 2
    return weights, weights @ np.asarray(keys.x)


def test_equals_the_formula_over_real_tokens():
    queries, keys, times, variables = example()
    out = jax.jit(LAYER.apply)(variables, queries, keys, *times)
    weights, x = oracle(queries, keys, times, variables)
    np.testing.assert_allclose(out.weights, weights, atol=1e-5)
    np.testing.assert_allclose(out.tokens.x, x, atol=1e-5)
    real = QUERY_MASK & KEY_MASK.any(1)[:, None]
    np.testing.assert_array_equal(out.tokens.mask, real)
    np.testing.assert_allclose(out.weights.sum(2), real, atol=1e-6)


def test_masked_content_and_times_change_no_bit_and_have_no_gradient():
    queries, keys, times, variables = example()

    @jax.jit
    def run(variables, q, k, tq, tk):
        tokens = Tokens(q, queries.mask), Tokens(k, keys.mask)
        out = LAYER.apply(variables, *tokens, tq, tk)
        return (out.tokens.x**2).sum(), out

    grad = jax.jit(jax.grad(run, argnums=(0, 1, 2, 3, 4), has_aux=True))
    clean = (queries.x, keys.x, *times)
    masks = (QUERY_MASK, KEY_MASK, QUERY_MASK, KEY_MASK)
    hide = [np.expand_dims(m, tuple(range(2, x.ndim))) for m, x in zip(masks, clean, strict=True)]
    dirty = [jnp.where(m, x, jnp.nan) for m, x in zip(hide, clean, strict=True)]
    expected, actual = grad(variables, *clean), grad(variables, *dirty)
    jax.tree.map(np.testing.assert_array_equal, actual, expected)
    for gradient, mask in zip(actual[0][1:], masks, strict=True):
        np.testing.assert_array_equal(np.asarray(gradient)[~mask], 0)
        assert np.abs(gradient).max() > 0
    assert all(np.abs(p).max() > 0 for p in jax.tree.leaves(actual[0][0]))


def test_gradients_are_those_of_finite_differences():
    queries, keys, times, variables = example()

    @jax.jit
    def run(variables, *times):
        return LAYER.apply(variables, queries, keys, *times).tokens.x

    check_grads(run, (variables, *times), order=1, modes=["rev"], eps=1e-2, rtol=2e-2)


def test_starts_as_interpolation_by_time():
    """A straight line in time comes back at the queries' times, away from the clip's ends."""
    layer = TemporalAlignment(8, window=0.1, duration=4.0)
    at_keys = (np.arange(80) + 0.5) * 4 / 80
    at_queries = (np.arange(12) + 0.5) * 4 / 12
    line = jnp.asarray(3 * at_keys - 1, jnp.float32)[None, :, None]
    keys = Tokens(line, jnp.ones((1, 80), bool))
    content = np.random.default_rng(0).normal(size=(1, 12, 3))
    queries = Tokens(jnp.asarray(content, jnp.float32), jnp.ones((1, 12), bool))
    variables = jax.jit(layer.init)(jax.random.key(0), queries, keys)
    out = layer.apply(variables, queries, keys)
    inner = slice(2, -2)
    np.testing.assert_allclose(out.tokens.x[0, inner, 0], 3 * at_queries[inner] - 1, atol=1e-3)
    times = (jnp.asarray(at, jnp.float32)[None] for at in (at_queries, at_keys))
    given = layer.apply(variables, queries, keys, *times)
    np.testing.assert_allclose(out.weights, given.weights, atol=1e-4)


def test_by_time_alone_the_aligned_time_never_goes_back():
    queries, keys, _, variables = example()
    still = jax.tree_util.tree_map_with_path(
        lambda path, p: jnp.zeros_like(p) if path[1].key == "q" else p, variables
    )
    times = jnp.sort(jnp.linspace(-1, 3, 4))[None].repeat(4, 0)
    out = LAYER.apply(still, queries, keys, times)
    at_keys = (np.arange(6) + 0.5) * 2 / 6
    for row in range(3):
        aligned = (np.asarray(out.weights)[row] @ at_keys)[QUERY_MASK[row]]
        assert (np.diff(aligned) > 0).all()


def test_learns_a_shift_between_two_rates():
    """Frames at 8 Hz show what is heard 0.2 s later at 25 Hz."""
    layer = TemporalAlignment(4, heads=2, window=0.1, duration=4.0)
    frames, sounds = ((np.arange(n) + 0.5) * 4 / n for n in (32, 100))

    def signal(time):
        waves = [np.sin(2 * np.pi * f * time) for f in (0.4, 0.7, 1.1)]
        return jnp.asarray(np.stack(waves, -1), jnp.float32)[None]

    seen, heard = signal(frames), signal(sounds - 0.2)
    real = jnp.ones((1, 32), bool)
    blank, keys = Tokens(jnp.zeros_like(seen), real), Tokens(heard, jnp.ones((1, 100), bool))
    variables = jax.jit(layer.init)(jax.random.key(0), blank, keys)
    optimizer = optax.adam(0.02)

    def loss(variables):
        x = layer.apply(variables, blank, keys).tokens.x
        return jnp.mean((x[:, 2:-4] - seen[:, 2:-4]) ** 2)

    @jax.jit
    def train(variables):
        def step(carry, _):
            variables, state = carry
            updates, state = optimizer.update(jax.grad(loss)(variables), state)
            return (optax.apply_updates(variables, updates), state), None

        start = (variables, optimizer.init(variables))
        (trained, _), _ = jax.lax.scan(step, start, length=60)
        return trained, loss(variables), loss(trained)

    trained, before, after = train(variables)
    np.testing.assert_allclose(trained["params"]["offset"], 0.2, atol=0.02)
    assert after < 0.05 * before


def test_in_bfloat16_it_is_near_float32():
    queries, keys, times, variables = example()
    exact = LAYER.apply(variables, queries, keys, *times)
    near = LAYER.clone(dtype=jnp.bfloat16).apply(variables, queries, keys, *times)
    assert near.tokens.x.dtype == jnp.bfloat16
    assert near.weights.dtype == jnp.float32
    np.testing.assert_allclose(near.tokens.x.astype(jnp.float32), exact.tokens.x, atol=0.03)


def test_large_sizes_by_shape():
    layer = TemporalAlignment(1024, heads=16)
    sizes = ((256, 64, 1024), (256, 1500, 768))
    tokens = [
        Tokens(jax.ShapeDtypeStruct(s, jnp.float32), jax.ShapeDtypeStruct(s[:2], bool))
        for s in sizes
    ]
    out, _ = jax.eval_shape(layer.init_with_output, jax.random.key(0), *tokens)
    assert out.tokens.x.shape == (256, 64, 768)
    assert out.weights.shape == (256, 64, 1500)


@pytest.mark.parametrize("options", [{"heads": 3}, {"heads": 0}, {"window": 0.0}])
def test_mistakes_are_told_in_one_line(options):
    queries, keys, *_ = example()
    with pytest.raises(UserError, match="choose heads that divide width and a window") as error:
        TemporalAlignment(8, **options).init(jax.random.key(0), queries, keys)
    assert "\n" not in str(error.value)

"""Attention pooling against loops over the real tokens, its gradients and its samples."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.errors import UserError
from mmjax.nn.layers.attention_pooling import AttentionPooling, straight_through_top_k
from mmjax.nn.layers.pooling import masked_softmax, weighted_sum
from tests import drawn

MASK = np.array([[1, 1, 1, 1, 1], [0, 1, 0, 1, 1], [0, 0, 0, 1, 0], [0, 0, 0, 0, 0]], bool)
REAL = jnp.asarray(MASK)
WIDTH = 3
KINDS = {
    "soft": {},
    "soft_dot": {"score": "dot", "temperature": 0.5},
    "hard": {"select": "hard", "count": 2},
    "gumbel": {"select": "gumbel"},
    "multilevel": {"segments": (2, 2)},
    "multilevel_hard": {"segments": (3,), "select": "hard"},
}
every_kind = pytest.mark.parametrize("kind", KINDS)


def content():
    x = np.random.default_rng(0).normal(size=(*MASK.shape, WIDTH))
    return jnp.asarray(x, jnp.float32)


def parameters(module):
    return drawn.variables(module, content(), REAL, deviation=0.8)


def run(kind):
    module = AttentionPooling(**KINDS[kind])
    variables = parameters(module)

    @jax.jit
    def step(x, mask):
        def loss(x):
            pooled, weights = module.apply(variables, x, mask)
            return (pooled**3).sum(), (pooled, weights)

        gradient, out = jax.grad(loss, has_aux=True)(x)
        return *out, gradient

    return step, variables["params"]


def softmax(scores):
    e = np.exp(scores - scores.max())
    return e / e.sum()


def naive_level(x, params, name, options):
    """Weights of real vectors x [n D]."""
    kernel = params[f"{name}_scores"]["kernel"][:, 0]
    if options.get("score") == "dot":
        scores = x @ kernel / np.sqrt(WIDTH)
    else:
        keys = params[f"{name}_keys"]
        scores = np.tanh(x @ keys["kernel"] + keys["bias"]) @ kernel
    if options.get("select", "soft") == "soft":
        return softmax(scores / options.get("temperature", 1))
    weights = np.zeros(len(x))
    weights[np.argsort(-scores)[: options.get("count", 1)]] = 1
    return weights / weights.sum()


def naive(x, mask, params, options):
    """Pooled vector and weights of one example."""
    items = [(x[n], {n: 1.0}) if mask[n] else None for n in range(len(x))]
    for level, size in enumerate((*options.get("segments", ()), len(x))):
        top = level == len(options.get("segments", ()))
        pooled = []
        for start in range(0, len(items), size):
            group = [item for item in items[start : start + size] if item]
            if not group:
                pooled.append(None)
                continue
            vectors = np.stack([vector for vector, _ in group])
            name = "top" if top else f"level_{level}"
            shares = naive_level(vectors, params, name, options)
            tokens = {
                n: w * s for (_, ws), s in zip(group, shares, strict=True) for n, w in ws.items()
            }
            pooled.append((shares @ vectors, tokens))
        items = pooled
    weights = np.zeros(len(x))
    if items[0] is None:
        return np.zeros(WIDTH), weights
    for n, weight in items[0][1].items():
        weights[n] = weight
    return items[0][0], weights


@every_kind
def test_pooling_equals_loops_over_real_tokens(kind):
    step, params = run(kind)
    pooled, weights, gradient = step(content(), REAL)
    for row, mask in enumerate(MASK):
        expected, shares = naive(np.asarray(content()[row]), mask, params, KINDS[kind])
        np.testing.assert_allclose(pooled[row], expected, atol=1e-5)
        np.testing.assert_allclose(weights[row], shares, atol=1e-5)
    np.testing.assert_allclose(weights.sum(1), MASK.any(1), atol=1e-6)
    # A token that is not taken still has the gradient of its score.
    np.testing.assert_array_equal(np.abs(gradient).max(-1)[:2] > 0, MASK[:2])


@every_kind
@pytest.mark.parametrize("value", [1e6, np.nan])
def test_masked_content_is_nothing(kind, value):
    step, _ = run(kind)
    clean, dirty = (
        step(x, REAL) for x in (content(), jnp.where(REAL[..., None], content(), value))
    )
    jax.tree.map(np.testing.assert_array_equal, dirty, clean)
    pooled, weights, gradient = dirty
    np.testing.assert_array_equal(weights[~MASK], 0)
    np.testing.assert_array_equal(gradient[~MASK], 0)
    np.testing.assert_array_equal(pooled[3], 0)


@pytest.mark.parametrize("kind", ["soft", "soft_dot", "hard", "gumbel"])
def test_order_of_tokens_does_not_matter_on_one_level(kind):
    step, _ = run(kind)
    order = np.array([3, 0, 4, 2, 1])
    pooled, weights, _ = step(content(), REAL)
    other, permuted, _ = step(content()[:, order], REAL[:, order])
    np.testing.assert_allclose(other, pooled, atol=1e-6)
    np.testing.assert_allclose(permuted, weights[:, order], atol=1e-6)


def test_straight_through_is_hard_forward_and_soft_backward():
    random = np.random.default_rng(2)
    scores, value = (jnp.asarray(random.normal(size=MASK.shape), jnp.float32) for _ in range(2))

    def reading(weigh):
        return lambda scores: (weigh(scores) * value).sum()

    for count in (1, 2, 9):
        hard = straight_through_top_k(scores, REAL, count)
        taken = np.minimum(count, MASK.sum(1))
        np.testing.assert_array_equal((hard > 0).sum(1), taken)
        np.testing.assert_array_equal(hard[:3].max(1), 1 / np.float32(taken[:3]))
        gradients = [
            jax.grad(reading(weigh))(scores)
            for weigh in (
                lambda s, count=count: straight_through_top_k(s, REAL, count),
                lambda s: masked_softmax(s, REAL),
            )
        ]
        np.testing.assert_allclose(*gradients, atol=1e-6)
        assert np.abs(gradients[0]).max() > 0.01


def test_top_k_with_equal_scores_takes_the_first():
    weights = straight_through_top_k(jnp.zeros((1, 4)), jnp.asarray([[0, 1, 1, 1]], bool), 2)
    np.testing.assert_array_equal(weights, [[0, 0.5, 0.5, 0]])


def test_gumbel_draws_each_token_as_often_as_its_softmax_says():
    x, mask = content()[:2], REAL[:2]
    module = AttentionPooling("gumbel", temperature=0.3)
    variables = parameters(module)
    draws = 4000

    @jax.jit
    def draw(key):
        def once(key):
            rngs = {"sample": key}
            return module.apply(variables, x, mask, deterministic=False, rngs=rngs)[1]

        return jax.vmap(once)(jax.random.split(key, draws))

    weights = np.asarray(draw(jax.random.key(0)))
    np.testing.assert_array_equal(np.sort(weights, axis=2)[..., -1], 1)
    np.testing.assert_array_equal(weights.sum(2), 1)
    expected = AttentionPooling("soft").apply(variables, x, mask)[1]
    # Four standard deviations of a frequency.
    np.testing.assert_allclose(weights.mean(0), expected, atol=4 * 0.5 / np.sqrt(draws))


def test_gumbel_needs_no_key_when_deterministic_and_is_then_hard():
    module = AttentionPooling("gumbel")
    variables = parameters(module)
    one = module.apply(variables, content(), REAL)
    two = AttentionPooling("hard").apply(variables, content(), REAL)
    jax.tree.map(np.testing.assert_array_equal, one, two)


def test_a_low_temperature_makes_soft_hard():
    variables = parameters(AttentionPooling())
    _, soft = AttentionPooling(temperature=1e-3).apply(variables, content(), REAL)
    _, hard = AttentionPooling("hard").apply(variables, content(), REAL)
    np.testing.assert_allclose(soft, hard, atol=1e-6)


def test_masked_softmax_never_reads_masked_scores():
    scores = jnp.where(MASK, 1.0, jnp.nan)
    np.testing.assert_allclose(
        masked_softmax(scores, REAL), MASK / np.maximum(MASK.sum(1, keepdims=True), 1), rtol=1e-6
    )
    gradient = jax.grad(lambda s: (masked_softmax(s, REAL) ** 2).sum())(scores)
    np.testing.assert_array_equal(np.asarray(gradient)[~MASK], 0)
    assert np.isfinite(gradient).all()


def test_weighted_sum_is_in_float32_and_of_the_type_of_x():
    x = jnp.ones((1, 1000, 1), jnp.bfloat16)
    out = weighted_sum(jnp.full((1, 1000), 1e-3), x, jnp.ones((1, 1000), bool))
    assert out.dtype == jnp.bfloat16
    assert out[0, 0] == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"select": "max"}, "unknown select 'max': choose one of gumbel, hard, soft"),
        ({"score": "cosine"}, "unknown score 'cosine': choose one of additive, dot"),
        ({"count": 0}, "count 0,.*above zero"),
        ({"temperature": 0.0}, "temperature 0.0,.*above zero"),
        ({"segments": (4, 0)}, r"segments \(4, 0\): choose numbers above zero"),
    ],
)
def test_mistakes_are_told_in_one_line(options, message):
    with pytest.raises(UserError, match=message):
        jax.eval_shape(AttentionPooling(**options).init, jax.random.key(0), content(), REAL)

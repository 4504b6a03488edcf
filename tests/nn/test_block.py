"""Every option of a transformer block against plain numpy, one example and its real tokens."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.errors import UserError
from mmjax.nn.layers.rotary import line_angles
from mmjax.nn.layers.transformer import Block, Transformer

WIDTH, HEADS = 8, 2
MASK = np.array([[1, 1, 1, 1, 1], [1, 0, 1, 1, 0]], bool)
CONTEXT_MASK = np.array([[1, 1, 0], [0, 1, 1]], bool)
random = np.random.default_rng(0)
X = jnp.asarray(random.normal(size=(2, 5, WIDTH)), jnp.float32)
CONTEXT = jnp.asarray(random.normal(size=(2, 3, 6)), jnp.float32)
ANGLES = line_angles(5, WIDTH // HEADS)
OPTIONS = {
    "pre": {},
    "post": {"norm": "post", "epsilon": 0.1},
    "causal": {"causal": True, "activation": "quick_gelu"},
    "scaled": {"layer_scale": 0.3, "activation": "relu", "mlp_ratio": 1.5},
    "cross only": {"self_attention": False, "norm": "post"},
}
CASES = [(name, "context") for name in OPTIONS]
CASES += [(name, extra) for name in OPTIONS if name != "cross only" for extra in ("", "angles")]
ACTIVATIONS = {
    "gelu": lambda x: 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
    "quick_gelu": lambda x: x / (1 + np.exp(-1.702 * x)),
    "relu": lambda x: np.maximum(x, 0),
}


def normed(x, params, epsilon):
    centred = x - x.mean(-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + epsilon)
    return scaled * params["scale"] + params["bias"]


def dense(x, params):
    return x @ params["kernel"] + params["bias"]


def turned(x, places):
    """Rotary positions as multiplication of complex numbers, pair i with i + K / 2."""
    half = x.shape[-1] // 2
    turn = np.exp(1j * np.asarray(places)[:, None] * 10_000.0 ** (-np.arange(half) / half))
    y = (x[:, :half] + 1j * x[:, half:]) * turn
    return np.concatenate([y.real, y.imag], axis=-1)


def heads_of(q, k, v, allowed, places):
    """Attention of one example; `allowed` [Q N]."""
    size, outs = q.shape[-1] // HEADS, []
    for head in range(HEADS):
        mine, keys, values = (a[:, head * size : (head + 1) * size] for a in (q, k, v))
        if places is not None:
            mine, keys = turned(mine, places), turned(keys, places)
        weights = np.exp(mine @ keys.T / np.sqrt(size)) * allowed
        outs.append(weights / weights.sum(-1, keepdims=True) @ values)
    return np.concatenate(outs, -1)


def plain_block(x, params, context, places, *, norm="pre", epsilon=1e-6, causal=False, **options):
    def own(y):
        q, k, v = np.split(dense(y, params["attention"]["qkv"]), 3, axis=-1)
        allowed = np.tri(len(y)) if causal else np.ones((len(y), len(y)))
        return dense(heads_of(q, k, v, allowed, places), params["attention"]["out"])

    def cross(y):
        k, v = np.split(dense(context, params["cross"]["kv"]), 2, axis=-1)
        q = dense(y, params["cross"]["q"])
        read = heads_of(q, k, v, np.ones((len(y), len(k))), None)
        return dense(read, params["cross"]["out"])

    def mlp(y):
        act = ACTIVATIONS[options.get("activation", "gelu")]
        return dense(act(dense(y, params["mlp_in"])), params["mlp_out"])

    branches = {"attention": own, "cross": cross, "mlp": mlp}
    if not options.get("self_attention", True):
        del branches["attention"]
    if context is None:
        del branches["cross"]
    for name, branch in branches.items():
        norm_params, scale = params[f"{name}_norm"], params.get(f"{name}_scale", 1)
        if norm == "pre":
            x = x + scale * branch(normed(x, norm_params, epsilon))
        else:
            x = normed(x + scale * branch(x), norm_params, epsilon)
    return x


def parameters(module, *args, **options):
    draw = np.random.default_rng(9)
    shapes = jax.eval_shape(module.init, jax.random.key(0), *args, **options)
    return jax.tree.map(lambda p: jnp.asarray(draw.normal(0.1, 0.4, p.shape), p.dtype), shapes)


@pytest.mark.parametrize(("name", "extra"), CASES)
def test_block_equals_plain_numpy(name, extra):
    options = OPTIONS[name]
    block = Block(HEADS, **options)
    given = {"mask": jnp.asarray(MASK)}
    if extra == "context":
        given |= {"context": CONTEXT, "context_mask": jnp.asarray(CONTEXT_MASK)}
    if extra == "angles":
        given |= {"angles": ANGLES}
    variables = parameters(block, X, **given)
    found = jax.jit(block.apply)(variables, X, **given)
    params = jax.tree.map(lambda p: np.asarray(p, np.float64), variables["params"])
    for row, real in enumerate(MASK):
        context = np.asarray(CONTEXT[row], np.float64)[CONTEXT_MASK[row]]
        expected = plain_block(
            np.asarray(X[row], np.float64)[real],
            params,
            context if extra == "context" else None,
            np.flatnonzero(real) if extra == "angles" else None,
            **options,
        )
        np.testing.assert_allclose(found[row][real], expected, rtol=1e-5, atol=2e-5)


def test_layer_scale_starts_at_its_value():
    params = jax.jit(Block(HEADS, layer_scale=0.01).init)(jax.random.key(0), X)["params"]
    for name in ("attention_scale", "mlp_scale"):
        np.testing.assert_array_equal(params[name], np.full(WIDTH, 0.01, np.float32))


def test_causal_tokens_have_exactly_no_gradient_at_later_ones():
    stack = Transformer(2, HEADS, causal=True)
    variables = parameters(stack, X)
    jacobian = jax.jit(jax.jacrev(lambda x: stack.apply(variables, x[None])[0]))(X[0])
    np.testing.assert_array_equal(np.abs(jacobian).max(axis=(1, 3)) > 0, np.tri(5) > 0)


def test_a_stack_is_its_blocks_and_for_pre_norm_a_norm():
    for norm in ("pre", "post"):
        stack = Transformer(2, HEADS, norm=norm, causal=True, layer_scale=0.1, epsilon=1e-3)
        given = {"mask": jnp.asarray(MASK), "context": CONTEXT, "angles": ANGLES}
        variables = parameters(stack, X, **given)
        params = variables["params"]
        block = Block(HEADS, norm=norm, causal=True, layer_scale=0.1, epsilon=1e-3)
        x = X
        for layer in range(2):
            x = jax.jit(block.apply)({"params": params[f"block_{layer}"]}, x, **given)
        if norm == "pre":
            x = normed(np.asarray(x), params["norm"], 1e-3)
        found = jax.jit(stack.apply)(variables, X, **given)
        np.testing.assert_allclose(found, x, rtol=1e-5, atol=1e-5)


def test_remat_gives_the_same_and_saves_less():
    plain, again = (Transformer(2, HEADS, dropout=0.2, remat=remat) for remat in (False, True))
    variables = parameters(plain, X)
    assert jax.tree.structure(parameters(again, X)) == jax.tree.structure(variables)

    def run(stack):
        def loss(params, x):
            given = {"mask": jnp.asarray(MASK), "angles": ANGLES, "deterministic": False}
            rngs = {"dropout": jax.random.key(1, impl="rbg")}
            return (stack.apply({"params": params}, x, **given, rngs=rngs) ** 2).sum()

        saved = jax.eval_shape(lambda *args: jax.vjp(loss, *args)[1], variables["params"], X)
        size = sum(leaf.size for leaf in jax.tree.leaves(saved))
        return jax.jit(jax.value_and_grad(loss, (0, 1)))(variables["params"], X), size

    (value, gradient), size = run(plain)
    (same, recomputed), less = run(again)
    np.testing.assert_allclose(same, value, rtol=1e-6)
    scale = max(np.abs(g).max() for g in jax.tree.leaves(gradient))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5 * scale), recomputed, gradient
    )
    weights = sum(p.size for p in jax.tree.leaves(variables))
    # What a block keeps is its input; the parameters are there anyway.
    assert less - weights < 0.25 * (size - weights), (less, size, weights)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"norm": "middle"}, "unknown norm 'middle': choose one of post, pre"),
        ({"activation": "swish"}, "unknown activation 'swish': choose one of gelu"),
    ],
)
def test_unknown_options_list_the_known(options, message):
    with pytest.raises(UserError, match=message):
        Block(HEADS, **options).init(jax.random.key(0), X)

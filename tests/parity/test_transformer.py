"""Attention and blocks against torch.nn: values and gradients <= 1e-5, and 1e-4 where stated."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.nn.layers.attention import CrossAttention, SelfAttention, attention
from mmjax.nn.layers.transformer import Block

torch = pytest.importorskip("torch")

from tests.parity.torch_weights import dense, fused, norm, random_state  # noqa: E402

BATCH, QUERIES, KEYS, WIDTH, HEADS = 3, 5, 7, 12, 3
random = np.random.default_rng(0)
X = random.normal(size=(BATCH, QUERIES, WIDTH)).astype(np.float32)
CONTEXT = random.normal(size=(BATCH, KEYS, WIDTH)).astype(np.float32)
# Every query has a real key, causal or not: PyTorch gives NaN to those that have none.
MASK = np.array([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [1, 0, 1, 0, 1]], bool)
CONTEXT_MASK = random.random((BATCH, KEYS)) < 0.6
CONTEXT_MASK[:, 2] = True


def side_by_side(parts):
    """Queries, keys and values (or fewer) as one dense layer."""
    return jax.tree.map(lambda *p: np.concatenate(p, axis=-1), *parts)


def gradients(theirs):
    return {name: p.grad.numpy() for name, p in theirs.named_parameters()}


def assert_near(actual, expected, atol=1e-5):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=atol), actual, expected)


@pytest.mark.parametrize("kind", ["plain", "causal", "bias", "mask", "causal bias mask"])
def test_attention_function(kind):
    q, k, v = (random.normal(size=(BATCH, HEADS, QUERIES, 4)).astype(np.float32) for _ in range(3))
    bias = random.normal(size=(1, HEADS, QUERIES, QUERIES)).astype(np.float32)
    given = [torch.tensor(a, requires_grad=True) for a in (q, k, v, bias)]
    added = torch.zeros(BATCH, 1, QUERIES, QUERIES)
    if "bias" in kind:
        added = added + given[3]
    if "mask" in kind:
        added = added.masked_fill(~torch.tensor(MASK)[:, None, None], -torch.inf)
    if "causal" in kind:
        added = added.masked_fill(~torch.ones(QUERIES, QUERIES).tril().bool(), -torch.inf)
    theirs = torch.nn.functional.scaled_dot_product_attention(*given[:3], attn_mask=added)
    (theirs**3).sum().backward()

    @jax.jit
    def step(*args):
        def loss(q, k, v, bias):
            y = attention(
                q,
                k,
                v,
                jnp.asarray(MASK) if "mask" in kind else None,
                causal="causal" in kind,
                bias=bias if "bias" in kind else None,
            )
            return (y**3).sum(), y

        return jax.grad(loss, (0, 1, 2, 3), has_aux=True)(*args)

    found, ours = step(q, k, v, bias)
    assert_near(ours, theirs.detach().numpy())
    wanted = [np.zeros(a.shape) if a.grad is None else a.grad.numpy() for a in given]
    assert_near(list(found), wanted, 1e-4)


@pytest.mark.parametrize("causal", [False, True])
def test_self_attention(causal):
    theirs = torch.nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
    params = self_params(random_state(torch, theirs))
    x = torch.tensor(X, requires_grad=True)
    later = ~torch.ones(QUERIES, QUERIES).tril().bool() if causal else None
    out, _ = theirs(x, x, x, key_padding_mask=~torch.tensor(MASK), attn_mask=later)
    (out**2).sum().backward()
    ours = SelfAttention(HEADS, causal=causal)

    @jax.jit
    def step(params, x):
        def loss(params, x):
            y = ours.apply({"params": params}, x, jnp.asarray(MASK))
            return (y**2).sum(), y

        return jax.grad(loss, (0, 1), has_aux=True)(params, x)

    (gradient, at_x), y = step(params, X)
    assert_near(y, out.detach().numpy())
    assert_near(at_x, x.grad.numpy(), 1e-4)
    assert_near(gradient, self_params(gradients(theirs)), 1e-4)


def self_params(state):
    parts = fused({f"own.{k}": v for k, v in state.items()}, "own")
    return {"qkv": side_by_side(parts), "out": dense(state, "out_proj")}


def cross_params(state):
    parts = fused({f"own.{k}": v for k, v in state.items()}, "own")
    return {"q": parts[0], "kv": side_by_side(parts[1:]), "out": dense(state, "out_proj")}


def test_cross_attention():
    theirs = torch.nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
    params = cross_params(random_state(torch, theirs))
    context = torch.tensor(CONTEXT, requires_grad=True)
    x = torch.tensor(X)
    out, _ = theirs(x, context, context, key_padding_mask=~torch.tensor(CONTEXT_MASK))
    (out**2).sum().backward()
    ours = CrossAttention(HEADS)

    @jax.jit
    def step(params, context):
        def loss(params, context):
            y = ours.apply({"params": params}, jnp.asarray(X), context, jnp.asarray(CONTEXT_MASK))
            return (y**2).sum(), y

        return jax.grad(loss, (0, 1), has_aux=True)(params, context)

    (gradient, at_context), y = step(params, CONTEXT)
    assert_near(y, out.detach().numpy())
    assert_near(at_context, context.grad.numpy(), 1e-4)
    np.testing.assert_array_equal(np.asarray(at_context)[~CONTEXT_MASK], 0)
    assert_near(gradient, cross_params(gradients(theirs)), 1e-4)


def block_params(state, cross):
    """Of an encoder layer, or of a decoder layer with its second attention."""
    mlp_norm = "norm3" if cross else "norm2"
    parts = {
        "attention": {
            "qkv": side_by_side(fused(state, "self_attn")),
            "out": dense(state, "self_attn.out_proj"),
        },
        "attention_norm": norm(state, "norm1"),
        "mlp_in": dense(state, "linear1"),
        "mlp_out": dense(state, "linear2"),
        "mlp_norm": norm(state, mlp_norm),
    }
    if cross:
        q, k, v = fused(state, "multihead_attn")
        out = dense(state, "multihead_attn.out_proj")
        parts["cross"] = {"q": q, "kv": side_by_side([k, v]), "out": out}
        parts["cross_norm"] = norm(state, "norm2")
    return parts


@pytest.mark.parametrize("cross", [False, True], ids=["encoder", "decoder"])
@pytest.mark.parametrize("place", ["pre", "post"])
def test_block(place, cross):
    """torch.nn.TransformerEncoderLayer, and the decoder layer, which is causal."""
    layer = torch.nn.TransformerDecoderLayer if cross else torch.nn.TransformerEncoderLayer
    theirs = layer(WIDTH, HEADS, 30, 0.0, "gelu", 1e-3, batch_first=True, norm_first=place == "pre")
    params = block_params(random_state(torch, theirs), cross)
    x = torch.tensor(X, requires_grad=True)
    pads = ~torch.tensor(MASK)
    if cross:
        out = theirs(
            x,
            torch.tensor(CONTEXT),
            tgt_mask=~torch.ones(QUERIES, QUERIES).tril().bool(),
            tgt_key_padding_mask=pads,
            memory_key_padding_mask=~torch.tensor(CONTEXT_MASK),
        )
    else:
        out = theirs(x, src_key_padding_mask=pads)
    (out[torch.tensor(MASK)] ** 2).sum().backward()
    ours = Block(
        HEADS, mlp_ratio=30 / WIDTH, norm=place, activation="gelu_exact", epsilon=1e-3, causal=cross
    )
    context = {"context": jnp.asarray(CONTEXT), "context_mask": jnp.asarray(CONTEXT_MASK)}

    @jax.jit
    def step(params, x):
        def loss(params, x):
            extra = context if cross else {}
            y = ours.apply({"params": params}, x, jnp.asarray(MASK), **extra)
            y = jnp.where(MASK[..., None], y, 0)
            return (y**2).sum(), y

        return jax.grad(loss, (0, 1), has_aux=True)(params, x)

    (gradient, at_x), y = step(params, X)
    assert_near(y, np.where(MASK[..., None], out.detach().numpy(), 0), 1e-4)
    scale = np.abs(x.grad).max().item()
    assert_near(at_x, x.grad.numpy(), 1e-5 * scale)
    expected = block_params(gradients(theirs), cross)
    scale = max(np.abs(g).max() for g in jax.tree.leaves(expected))
    assert_near(gradient, expected, 1e-5 * scale)

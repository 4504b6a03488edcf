"""Attention of long sequences for CPUs: one head after the other."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mmjax.nn.layers.dot_product import exponentials, scores_of, weigh

NAMES = ("q", "k", "v", "allowed", "bias")


@jax.custom_vjp
def attend_by_head(
    q: Float[Array, "B H Q K"],
    k: Float[Array, "B H N K"],
    v: Float[Array, "B H N K"],
    allowed: Bool[Array, "b 1 q N"] | None,
    bias: Float[Array, "b2 H Q N"] | None,
) -> Float[Array, "B H Q K"]:
    """As `mmjax.nn.layers.dot_product.dot_product`, with less memory for scores at a time.

    The backward pass computes the weights again from the logarithms of their sums, so that none are
    kept (as in Dao et al. 2022, https://arxiv.org/abs/2205.14135).
    """
    return _forward(q, k, v, allowed, bias)[0]


def _forward(*args):
    y, log_total = _each_head(weigh, dict(zip(NAMES, args, strict=True)))
    return y, (args, y, log_total)


def _backward(kept, d_y):
    args, y, log_total = kept
    given = dict(zip(NAMES, args, strict=True)) | {"y": y, "log_total": log_total, "d_y": d_y}
    d_q, d_k, d_v, d_bias = _each_head(_gradients, given)
    bias = args[4]
    if bias is not None:
        d_bias = jnp.sum(d_bias, axis=0, keepdims=True) if bias.shape[0] == 1 else d_bias
        d_bias = d_bias.astype(bias.dtype)
    return d_q, d_k, d_v, None, d_bias


attend_by_head.defvjp(_forward, _backward)


def _gradients(q, k, v, y, log_total, d_y, allowed=None, bias=None):
    """Of q, k, v and bias [B H Q N]."""
    weights = exponentials(scores_of(q, k, allowed, bias), log_total, allowed)
    scale, d_wide = q.shape[-1] ** -0.5, d_y.astype(jnp.float32)
    mean = jnp.sum(d_wide * y, axis=-1, keepdims=True)
    d_weights = jnp.einsum("bhqk,bhnk->bhqn", d_y, v, preferred_element_type=jnp.float32)
    d_scores = weights * (d_weights - mean)
    narrow = d_scores.astype(v.dtype)
    d_q = jnp.einsum("bhqn,bhnk->bhqk", narrow, k, preferred_element_type=jnp.float32)
    d_k, d_v = _of_keys(narrow, q * scale), _of_keys(weights.astype(v.dtype), d_y)
    d_q, d_k, d_v = (d_q * scale).astype(q.dtype), d_k.astype(k.dtype), d_v.astype(v.dtype)
    return d_q, d_k, d_v, None if bias is None else d_scores


def _of_keys(x, y):
    """[B H Q N], [B H Q K] -> [B H N K]; the transposed one is written out, which is faster."""
    x = jax.lax.optimization_barrier(jnp.swapaxes(x, 2, 3))
    return jnp.einsum("bhnq,bhqk->bhnk", x, y, preferred_element_type=jnp.float32)


def _each_head(function, given):
    """function(**given) of all rows, for one head after the other."""
    heads = given["q"].shape[1]

    def parts(x):  # [b h ...] -> [H b 1 ...]
        x = jnp.broadcast_to(x, (x.shape[0], heads, *x.shape[2:]))
        return jnp.moveaxis(x, 1, 0)[:, :, None]

    given = {name: parts(x) for name, x in given.items() if x is not None}
    found = jax.lax.map(lambda part: function(**part), given)
    return jax.tree.map(lambda y: jnp.moveaxis(y[:, :, 0], 0, 1), found)

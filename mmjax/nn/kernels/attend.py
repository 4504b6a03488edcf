"""Attention with a derivative for CPUs: all heads at once, or one after the other."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mmjax.nn.kernels.devices import sharing
from mmjax.nn.layers.dot_product import dot_product, exponentials, scores_of, weigh

NAMES = ("q", "k", "v", "allowed", "bias")


@jax.custom_vjp
def attend(
    q: Float[Array, "B H Q K"],
    k: Float[Array, "B H N K"],
    v: Float[Array, "B H N K"],
    allowed: Bool[Array, "b 1 q N"] | None,
    bias: Float[Array, "b2 H Q N"] | None,
) -> Float[Array, "B H Q K"]:
    """As `mmjax.nn.layers.dot_product.dot_product`."""
    return dot_product(q, k, v, allowed, bias)


def _forward(*args):
    y, weights, total, _ = weigh(*args)
    return y, (args, y, weights, total)


def _backward(kept, d_y):
    (q, k, v, _, bias), y, weights, total = kept
    return _in_order(_gradients(q, k, v, y, weights, total, d_y), bias)


attend.defvjp(_forward, _backward)


@jax.custom_vjp
def attend_by_head(
    q: Float[Array, "B H Q K"],
    k: Float[Array, "B H N K"],
    v: Float[Array, "B H N K"],
    allowed: Bool[Array, "b 1 q N"] | None,
    bias: Float[Array, "b2 H Q N"] | None,
) -> Float[Array, "B H Q K"]:
    """As `attend`, with scores that stay in the cache.

    The backward pass computes the weights again from the logarithms of their sums, so that none are
    kept (as in Dao et al. 2022, https://arxiv.org/abs/2205.14135).
    """
    return _forward_by_head(q, k, v, allowed, bias)[0]


def _forward_by_head(*args):
    def part(**given):
        y, _, total, top = weigh(**given)
        return y, top + jnp.log(total)

    y, log_total = _each_head(part, dict(zip(NAMES, args, strict=True)))
    return y, (args, y, log_total)


def _backward_by_head(kept, d_y):
    def part(q, k, v, y, log_total, d_y, allowed=None, bias=None):
        weights = exponentials(scores_of(q, k, allowed, bias), log_total, allowed)
        *found, d_scores = _gradients(q, k, v, y, weights, jnp.ones_like(log_total), d_y)
        return *found, None if bias is None else d_scores

    args, y, log_total = kept
    given = dict(zip(NAMES, args, strict=True)) | {"y": y, "log_total": log_total, "d_y": d_y}
    return _in_order(_each_head(part, given), args[4])


attend_by_head.defvjp(_forward_by_head, _backward_by_head)


def _in_order(gradients, bias):
    """Those of q, k, v, allowed and bias, from those of q, k, v and the scores."""
    *found, d_bias = gradients
    if bias is None:
        return *found, None, None
    d_bias = jnp.sum(d_bias, axis=0, keepdims=True) if bias.shape[0] == 1 else d_bias
    return *found, None, d_bias.astype(bias.dtype)


def _gradients(q, k, v, y, weights, total, d_y):
    """Of q, k, v and the scores [B H Q N]."""
    d_y = d_y.astype(jnp.float32) / total
    mean = jnp.sum(d_y * y, axis=-1, keepdims=True)
    d_y, scale = d_y.astype(v.dtype), q.shape[-1] ** -0.5
    d_weights = jnp.einsum("bhqk,bhnk->bhqn", d_y, v, preferred_element_type=jnp.float32)
    d_scores = weights * (d_weights - mean)
    narrow = d_scores.astype(v.dtype)
    d_q = jnp.einsum("bhqn,bhnk->bhqk", narrow, k, preferred_element_type=jnp.float32)
    d_k, d_v = _of_keys(narrow, q * scale), _of_keys(weights.astype(v.dtype), d_y)
    return (d_q * scale).astype(q.dtype), d_k.astype(k.dtype), d_v.astype(v.dtype), d_scores


def _of_keys(x, y):
    """[B H Q N], [B H Q K] -> [B H N K]; the transposed one is written out, which is faster."""
    x = jax.lax.optimization_barrier(jnp.swapaxes(x, 2, 3))
    return jnp.einsum("bhnq,bhqk->bhnk", x, y, preferred_element_type=jnp.float32)


def _each_head(function, given):
    """function(**given) for one head of each device's rows after the other."""
    batch, heads = given["q"].shape[:2]
    at_once = sharing(batch)
    parts_each = batch // at_once * heads

    def parts(x):  # [b h ...] -> [parts_each at_once 1 ...]
        x = jnp.broadcast_to(x, (batch, heads, *x.shape[2:]))
        return jnp.moveaxis(x.reshape(at_once, parts_each, 1, *x.shape[2:]), 0, 1)

    def together(y):
        return jnp.moveaxis(y, 1, 0).reshape(batch, heads, *y.shape[3:])

    given = {name: parts(x) for name, x in given.items() if x is not None}
    return jax.tree.map(together, jax.lax.map(lambda part: function(**part), given))

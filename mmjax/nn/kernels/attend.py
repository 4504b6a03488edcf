"""The arithmetic of attention: all heads at once, or one after the other for long sequences."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def attend(
    q: Float[Array, "B H Q K"],
    k: Float[Array, "B H N K"],
    v: Float[Array, "B H N K"],
    allowed: Bool[Array, "b 1 q N"] | None = None,
    bias: Float[Array, "b2 H Q N"] | None = None,
    drop: Callable[[Array], Array] | None = None,
) -> Float[Array, "B H Q K"]:
    """softmax(q k^T / sqrt(K) + bias) v; b and b2 are B or 1, q is Q or 1.

    Keys not allowed weigh exactly zero; where none is, the result is zero. Without dropout the
    derivative is written out, for products that suit a CPU, and there is none in forward mode.
    """
    if drop is None:
        return _at_once(q, k, v, allowed, bias)
    return _weigh(q, k, v, allowed, bias, drop)[0]


def _weigh(q, k, v, allowed=None, bias=None, drop=None):
    """The result; the weights, their sums (by which they are yet to be divided), top scores."""
    scores = _scores(q, k, allowed, bias)
    top = jax.lax.stop_gradient(jnp.max(scores, axis=-1, keepdims=True))
    weights = _exponentials(scores, top, allowed)
    total = jnp.sum(weights, axis=-1, keepdims=True)
    if allowed is not None:
        total = jnp.where(total > 0, total, 1.0)
    dropped = weights.astype(v.dtype)
    if drop is not None:
        dropped = drop(dropped)
    # Dividing [Q K] sums, not [Q N] weights: that halves the time of attention on a CPU.
    y = jnp.einsum("bhqn,bhnk->bhqk", dropped, v, preferred_element_type=jnp.float32)
    return (y / total).astype(v.dtype), weights, total, top


def _scores(q, k, allowed, bias):
    q = q * (q.shape[-1] ** -0.5)  # fewer numbers than the scores
    scores = jnp.einsum("bhqk,bhnk->bhqn", q, k, preferred_element_type=jnp.float32)
    if bias is not None:
        scores = scores + bias
    return scores if allowed is None else jnp.where(allowed, scores, jnp.finfo(jnp.float32).min)


def _exponentials(scores, subtracted, allowed):
    weights = jnp.exp(scores - subtracted)
    # For queries without a real key, whose weights would all be 1.
    return weights if allowed is None else jnp.where(allowed, weights, 0.0)


def _gradients(q, k, v, bias, y, weights, total, d_y):
    """Of q, k, v and bias [B H Q N], by their names."""
    d_y = d_y.astype(jnp.float32) / total
    mean = jnp.sum(d_y * y, axis=-1, keepdims=True)
    d_y, scale = d_y.astype(v.dtype), q.shape[-1] ** -0.5
    d_weights = jnp.einsum("bhqk,bhnk->bhqn", d_y, v, preferred_element_type=jnp.float32)
    d_scores = weights * (d_weights - mean)
    narrow = d_scores.astype(v.dtype)
    d_q = jnp.einsum("bhqn,bhnk->bhqk", narrow, k, preferred_element_type=jnp.float32)
    found = {
        "q": (d_q * scale).astype(q.dtype),
        "k": _of_keys(narrow, q * scale).astype(k.dtype),
        "v": _of_keys(weights.astype(v.dtype), d_y).astype(v.dtype),
    }
    return found if bias is None else found | {"bias": d_scores.astype(bias.dtype)}


def _of_keys(x, y):
    """[B H Q N], [B H Q K] -> [B H N K]."""

    def of_copy(x, y):  # the transposed one is written out, for the faster product
        x = jax.lax.optimization_barrier(jnp.swapaxes(x, 2, 3))
        return jnp.einsum("bhnq,bhqk->bhnk", x, y, preferred_element_type=jnp.float32)

    def plain(x, y):
        return jnp.einsum("bhqn,bhqk->bhnk", x, y, preferred_element_type=jnp.float32)

    return jax.lax.platform_dependent(x, y, cpu=of_copy, default=plain)


def _in_order(found, bias):
    """The gradients of q, k, v, allowed and bias, which may be one for all rows."""
    if bias is not None and bias.shape[0] == 1:
        found["bias"] = jnp.sum(found["bias"], axis=0, keepdims=True)
    return found["q"], found["k"], found["v"], None, found.get("bias")


@jax.custom_vjp
def _at_once(q, k, v, allowed, bias):
    return _weigh(q, k, v, allowed, bias)[0]


def _forward(q, k, v, allowed, bias):
    y, weights, total, _ = _weigh(q, k, v, allowed, bias)
    return y, (q, k, v, bias, y, weights, total)


def _backward(kept, d_y):
    return _in_order(_gradients(*kept, d_y), bias=kept[3])


_at_once.defvjp(_forward, _backward)


@jax.custom_vjp
def attend_by_head(
    q: Float[Array, "B H Q K"],
    k: Float[Array, "B H N K"],
    v: Float[Array, "B H N K"],
    allowed: Bool[Array, "b 1 q N"] | None,
    bias: Float[Array, "b2 H Q N"] | None,
) -> Float[Array, "B H Q K"]:
    """As `attend`, with scores that stay in a CPU's cache; accelerators do all heads at once.

    The backward pass computes the weights again from the logarithms of their sums, so that none are
    kept (as in Dao et al. 2022, https://arxiv.org/abs/2205.14135).
    """
    return _forward_by_head(q, k, v, allowed, bias)[0]


def _forward_by_head(q, k, v, allowed, bias):
    def part(**given):
        y, _, total, top = _weigh(**given)
        return y, top + jnp.log(total)

    given = {"q": q, "k": k, "v": v, "allowed": allowed, "bias": bias}
    given = {name: x for name, x in given.items() if x is not None}
    y, log_total = _each_head(part, given)
    return y, (given, y, log_total)


def _backward_by_head(kept, d_y):
    def part(q, k, v, y, log_total, d_y, allowed=None, bias=None):
        weights = _exponentials(_scores(q, k, allowed, bias), log_total, allowed)
        return _gradients(q, k, v, bias, y, weights, jnp.ones_like(log_total), d_y)

    given, y, log_total = kept
    found = _each_head(part, given | {"y": y, "log_total": log_total, "d_y": d_y})
    return _in_order(found, given.get("bias"))


attend_by_head.defvjp(_forward_by_head, _backward_by_head)


def _each_head(function, given):
    """function(**given), on a CPU for one head of each device's rows after the other."""
    batch, heads = given["q"].shape[:2]
    # The rows may be spread over the devices, each of which does one of its own then.
    at_once = math.gcd(batch, jax.device_count())
    parts_each = batch // at_once * heads

    def parts(x):  # [b h ...] -> [parts_each at_once 1 ...]
        x = jnp.broadcast_to(x, (batch, heads, *x.shape[2:]))
        return jnp.moveaxis(x.reshape(at_once, parts_each, 1, *x.shape[2:]), 0, 1)

    def together(y):
        return jnp.moveaxis(y, 1, 0).reshape(batch, heads, *y.shape[3:])

    def loop(given):
        found = jax.lax.map(lambda part: function(**part), jax.tree.map(parts, given))
        return jax.tree.map(together, found)

    return jax.lax.platform_dependent(given, cpu=loop, default=lambda given: function(**given))

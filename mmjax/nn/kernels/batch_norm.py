"""Batch normalisation with a derivative for CPUs."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mmjax.nn.kernels.devices import over_all_rows
from mmjax.nn.layers.moments import Moments, masked_moments


@functools.partial(jax.custom_vjp, nondiff_argnums=(4,))
def normalise(
    x: Float[Array, "R *places channels"],
    mask: Bool[Array, " R"],
    scale: Float[Array, " channels"],
    bias: Float[Array, " channels"],
    epsilon: float,
) -> tuple[Float[Array, "R *places channels"], Moments]:
    """As `mmjax.nn.layers.batch_norm.normalise`, derived in two sums over the batch, not four."""
    return _forward(x, mask, scale, bias, epsilon)[0]


def _forward(x, mask, scale, bias, epsilon):
    mean, variance, count = masked_moments(x, mask)
    inverse = 1 / jnp.sqrt(variance + epsilon)
    y = (x - mean) * (scale * inverse) + bias
    return (y, (mean, variance, count)), (x, mask, scale, mean, inverse, count)


def _backward(_epsilon, residuals, cotangents):
    x, mask, scale, mean, inverse, count = residuals
    real = jnp.expand_dims(mask, tuple(range(1, x.ndim)))
    d_y = jnp.where(real, cotangents[0], 0.0)
    normal = (x - mean) * inverse
    places = tuple(range(1, x.ndim - 1))
    sums = jnp.stack([jnp.sum(d_y, places), jnp.sum(d_y * normal, places)], axis=1)
    d_bias, d_scale = own = jnp.sum(sums, 0)
    of_all = over_all_rows(own)
    through_moments = (of_all[0] + normal * of_all[1]) / jnp.maximum(count, 1.0)
    d_x = jnp.where(real, (d_y - through_moments) * (scale * inverse), 0.0)
    return d_x, None, d_scale, d_bias


normalise.defvjp(_forward, _backward)

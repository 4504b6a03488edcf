"""Layer normalisation (Ba et al. 2016, https://arxiv.org/abs/1607.06450)."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Float32


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def layer_norm(
    x: Float[Array, "*rows D"],
    scale: Float32[Array, " D"],
    bias: Float32[Array, " D"],
    epsilon: float,
) -> Float32[Array, "*rows D"]:
    """(x - mean(x)) / sqrt(variance(x) + epsilon) * scale + bias, of each row, in float32.

    The variance is the mean of (x - mean(x))^2, not mean(x^2) - mean(x)^2, of which little is left
    where the mean is large. Its derivative is written out: on a CPU, XLA's takes up to twice the
    time. There is none in forward mode.
    """
    return _normalise(x, scale, bias, epsilon)[0]


def _normalise(x, scale, bias, epsilon):
    width, ones = x.shape[-1], jnp.ones(x.shape[-1:])
    mean = _weighted_sum(x, ones) / width
    centred = x - mean
    inverse = jax.lax.rsqrt(_weighted_sum(jnp.square(centred), ones) / width + epsilon)
    return centred * inverse * scale + bias, (x, mean, inverse, scale)


def _derivative(_epsilon, kept, d_y):
    x, mean, inverse, scale = kept
    normal = (x - mean) * inverse
    both = d_y * normal
    rows = tuple(range(x.ndim - 1))
    share = scale / x.shape[-1]
    d_x = d_y * scale - _weighted_sum(d_y, share) - normal * _weighted_sum(both, share)
    return (inverse * d_x).astype(x.dtype), jnp.sum(both, rows), jnp.sum(d_y, rows)


layer_norm.defvjp(_normalise, _derivative)


def _weighted_sum(x, weights):
    """sum(x * weights) of each row [... 1]."""

    def as_product(x, weights):
        # What is summed is written once, instead of computed again by each that reads it.
        return jax.lax.optimization_barrier(x) @ weights

    def as_sum(x, weights):  # where products round to fewer bits
        return jnp.sum(x * weights, axis=-1)

    return jax.lax.platform_dependent(x, weights, cpu=as_product, default=as_sum)[..., None]


class LayerNorm(nn.Module):
    """Normalises each row, then scales and shifts it by learned numbers.

    The same parameters as `flax.linen.LayerNorm`: "scale" and "bias", of [D].

    Attributes:
        epsilon: added to the variance.
        affine: whether there are parameters.
    """

    epsilon: float = 1e-6
    affine: bool = True

    @nn.compact
    def __call__(self, x: Float[Array, "*rows D"]) -> Float32[Array, "*rows D"]:
        scale, bias = jnp.ones(x.shape[-1:]), jnp.zeros(x.shape[-1:])
        if self.affine:
            scale = self.param("scale", nn.initializers.ones, scale.shape, jnp.float32)
            bias = self.param("bias", nn.initializers.zeros, bias.shape, jnp.float32)
        return layer_norm(x, scale, bias, self.epsilon)

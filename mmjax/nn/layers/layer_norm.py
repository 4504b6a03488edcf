"""Layer normalisation (Ba et al. 2016, https://arxiv.org/abs/1607.06450)."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32

from mmjax.nn.kernels import layer_norm as kernel
from mmjax.nn.kernels.switch import dispatch


def layer_norm(
    x: Float[Array, "*rows D"],
    scale: Float32[Array | np.ndarray, " D"],
    bias: Float32[Array | np.ndarray, " D"],
    epsilon: float,
) -> Float32[Array, "*rows D"]:
    """(x - mean(x)) / sqrt(variance(x) + epsilon) * scale + bias, of each row, in float32.

    The variance is the mean of (x - mean(x))^2, not mean(x^2) - mean(x)^2, of which little is left
    where the mean is large.
    """
    fast = functools.partial(kernel.layer_norm, epsilon=epsilon)
    return dispatch(x, scale, bias, cpu=fast, default=functools.partial(_plain, epsilon=epsilon))


def _plain(x, scale, bias, epsilon):
    x = x.astype(jnp.float32)
    centred = x - jnp.mean(x, axis=-1, keepdims=True)
    variance = jnp.mean(jnp.square(centred), axis=-1, keepdims=True)
    return centred * jax.lax.rsqrt(variance + epsilon) * scale + bias


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

"""A dense layer that multiplies one flat matrix."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float


class Dense(nn.Module):
    """`x @ kernel + bias` over the last axis; the same parameters as `flax.linen.Dense`.

    Attributes:
        features: size of the last axis of the output.
        use_bias: whether a bias is added.
        dtype: type of the computation and of the output; parameters are float32.
        kernel_init: initialiser of the kernel [D features].
    """

    features: int
    use_bias: bool = True
    dtype: Any = jnp.float32
    kernel_init: Callable = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(self, x: Float[Array, "*rows D"]) -> Float[Array, "*rows features"]:
        width = x.shape[-1]
        kernel = self.param("kernel", self.kernel_init, (width, self.features), jnp.float32)
        # On CPU the backward pass over [B*N D] takes half the time of the one over [B N D].
        flat = x.astype(self.dtype).reshape(-1, width)
        y = jnp.matmul(flat, jnp.asarray(kernel, self.dtype))
        if self.use_bias:
            bias = self.param("bias", nn.initializers.zeros, (self.features,), jnp.float32)
            y = y + bias.astype(self.dtype)
        return y.reshape(*x.shape[:-1], self.features)

"""Fusion in CLAP: what the parts of a longer sound add to the whole of it (Wu et al. 2022,
https://arxiv.org/abs/2211.06687), weighed as by Dai et al. 2020, https://arxiv.org/abs/2009.14082.
"""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mmjax.nn.layers.batch_norm import BatchNorm
from mmjax.nn.layers.conv import Conv
from mmjax.nn.layers.dense import Dense

PARTS = 3  # of a longer sound


class Weigher(nn.Module):
    """Two dense layers of each cell, each with a batch norm; parameters "dense_i", "norm_i".

    Attributes:
        inner: width between them.
        dtype: type of the computation; norms are in float32.
    """

    inner: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, "B H W C"], mask: Bool[Array, " B"], *, deterministic: bool
    ) -> Float[Array, "B H W C"]:
        """`mask`: whose statistics the norms take in training."""
        y = Dense(self.inner, dtype=self.dtype, name="dense_0")(x)
        y = nn.relu(BatchNorm(name="norm_0")(y, mask, deterministic=deterministic))
        y = Dense(x.shape[-1], dtype=self.dtype, name="dense_1")(y)
        return BatchNorm(name="norm_1")(y, mask, deterministic=deterministic)


class ClapFusion(nn.Module):
    """Patches of the whole, and for longer sounds of three parts in windows three times as wide,
    side by side; both are weighed for each cell and channel.

    Attributes:
        inner: width within the two that weigh.
        patch_size, strides, padding: of the patches of the whole.
        dtype: type of the computation.
    """

    inner: int
    patch_size: tuple[int, int]
    strides: tuple[int, int]
    padding: tuple[tuple[int, int], tuple[int, int]]
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        whole: Float[Array, "B H W C"],
        parts: Float[Array, "B P size size"],
        longer: Bool[Array, " B"],
        real: Bool[Array, " B"] | None = None,
        *,
        deterministic: bool = True,
    ) -> Float[Array, "B H W C"]:
        """`whole` where the sound is not longer, whatever its parts are.

        Args:
            whole: its patches.
            parts: the normalised spectrograms, as squares.
            longer: whose parts count.
            real: whose statistics the norms take in training, of the longer ones. None: of all.
            deterministic: False in training.
        """
        rows, height, width, channels = whole.shape
        sides, strides = ((down, PARTS * along) for down, along in (self.patch_size, self.strides))
        patches = Conv(channels, sides, strides, self.padding, dtype=self.dtype, name="patches")
        x = patches(parts.reshape(-1, *parts.shape[2:], 1))
        x = jnp.moveaxis(x.reshape(rows, PARTS, height, -1, channels), 1, 2)
        x = x.reshape(rows, height, -1, channels)
        x = jnp.pad(x, ((0, 0), (0, 0), (0, width - x.shape[2]), (0, 0)))
        mask = longer if real is None else longer & real
        both = whole + x
        mean = jnp.mean(both, axis=(1, 2), keepdims=True)
        local, overall = (Weigher(self.inner, self.dtype, name=n) for n in ("local", "overall"))
        weight = local(both, mask, deterministic=deterministic)
        weight = nn.sigmoid(weight + overall(mean, mask, deterministic=deterministic))
        fused = 2 * whole * weight + 2 * x * (1 - weight)
        return jnp.where(longer[:, None, None, None], fused, whole)

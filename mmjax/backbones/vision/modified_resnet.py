"""CLIP's ResNet (Radford et al. 2021, https://arxiv.org/abs/2103.00020): three convolutions as the
stem, average pooling where others have strides, and a pooling by attention."""

import math
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from mmjax.backbones.vision.maps import MapBackbone
from mmjax.backbones.vision.vit import resized
from mmjax.errors import UserError
from mmjax.nn.layers.attention import attention, merge_heads, split_heads
from mmjax.nn.layers.conv_norm import NormedLayers
from mmjax.nn.layers.dense import Dense

EXPANSION = 4  # channels that leave a block, in units of those of its 3x3 convolution
SMALLEST = 31  # pixels of a side of which one cell is left


def average_pool(x: Float[Array, "B H W channels"], side: int) -> Float[Array, "B y x channels"]:
    """Mean over windows of side x side pixels; an incomplete last window is dropped."""
    rows, columns = (size // side for size in x.shape[1:3])
    x = x[:, : rows * side, : columns * side]
    return jnp.mean(x.reshape(x.shape[0], rows, side, columns, side, -1), axis=(2, 4))


class Bottleneck(NormedLayers):
    """relu(x + convolutions(x)) with an average pooling in place of a stride.

    Attributes:
        channels: of the 3x3 convolution; EXPANSION times as many come out.
        stride: factor by which height and width shrink.
    """

    channels: int
    stride: int = 1

    @nn.compact
    def run(self, x: Array, mask: Array | None, deterministic: bool) -> Array:
        """The block."""

        def convolve(x, name, channels, side, activation):
            conv = self.convolution(name, channels, side, activation=activation)
            return conv(x, mask, deterministic=deterministic)

        out = EXPANSION * self.channels
        y = convolve(x, "conv_0", self.channels, 1, "relu")
        y = convolve(y, "conv_1", self.channels, 3, "relu")
        y = convolve(average_pool(y, self.stride), "conv_2", out, 1, "identity")
        if self.stride != 1 or x.shape[-1] != out:
            x = convolve(average_pool(x, self.stride), "shortcut", out, 1, "identity")
        return nn.relu(x + y)


class AttentionPool(nn.Module):
    """The mean of a map reads the mean and all cells: [B h w D] -> [B E].

    Attributes:
        heads: of the attention.
        width: E.
        grid: rows and columns of the learned positions, which the mean's position precedes; for
            maps of other sizes they are interpolated (bicubic), as those of a vision transformer.
        dtype: type of the computation.
    """

    heads: int
    width: int
    grid: tuple[int, int]
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B h w D"]) -> Float[Array, "B E"]:
        grid, width = x.shape[1:3], x.shape[3]
        init = nn.initializers.normal(width**-0.5)
        table = self.param("positions", init, (1 + math.prod(self.grid), width), jnp.float32)
        cells = resized(table[1:], self.grid, grid, antialias=True)
        x = x.reshape(x.shape[0], -1, width)
        mean = jnp.mean(x, axis=1, keepdims=True, dtype=jnp.float32).astype(x.dtype)
        places = jnp.concatenate([table[:1], cells]).astype(x.dtype)
        x = jnp.concatenate([mean, x], axis=1) + places

        def project(name: str, x: Array) -> Array:
            return split_heads(Dense(width, dtype=self.dtype, name=name)(x), self.heads)

        y = attention(project("query", x[:, :1]), project("key", x), project("value", x))
        return Dense(self.width, dtype=self.dtype, name="out")(merge_heads(y))[:, 0]


class ModifiedResNet(MapBackbone):
    """pixel_values [B 3 H W] -> last_hidden_state [B N D], the last map row by row, and
    pooler_output [B E], the features that the attention pool reads off it.

    Attributes:
        width: channels after the stem; D is 32 times as many.
        layers: blocks of each of the four stages.
        heads: of the attention pool.
        features: E.
        grid: rows and columns of the last map, for the positions of the pool.
        patch_size: pixels of a cell of the last map.
    """

    width: int
    layers: tuple[int, ...]
    heads: int
    features: int
    grid: tuple[int, int]

    patch_size = (32, 32)

    def setup(self):
        self.pool = AttentionPool(self.heads, self.features, self.grid, self.dtype)

    def pooled(self, last: Float[Array, "B h w D"]) -> Float[Array, "B E"]:
        """What the attention pool reads off the last map."""
        return self.pool(last)

    @nn.compact
    def run(
        self, x: Array, mask: Array | None, deterministic: bool
    ) -> list[Float[Array, "B _ _ _"]]:
        """The maps before the first stage and after each.

        Raises:
            UserError: too small for one cell.
        """
        size = x.shape[1:3]
        if min(size) < SMALLEST:
            raise UserError(
                f"pixel_values: {size[0]}x{size[1]} is smaller than {SMALLEST}x{SMALLEST}, of which"
                " one cell is left: resize the images"
            )
        for layer, channels in enumerate((self.width // 2, self.width // 2, self.width)):
            stride = 1 if layer else 2
            conv = self.convolution(f"stem_{layer}", channels, 3, stride)
            x = conv(x, mask, deterministic=deterministic)
        widths = [self.width * 2**stage for stage in range(len(self.layers))]
        sizes = zip(self.layers, widths, strict=True)
        stages = ((n, (w, 1 if w == self.width else 2), (w,)) for n, w in sizes)
        return self.staged(average_pool(x, 2), mask, deterministic, Bottleneck, stages)

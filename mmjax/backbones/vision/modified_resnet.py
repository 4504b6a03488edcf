"""CLIP's ResNet (Radford et al. 2021, https://arxiv.org/abs/2103.00020): three convolutions as the
stem, average pooling where others have strides, and a pooling by attention."""

import math
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mmjax.backbones.stack import with_states
from mmjax.backbones.vision.maps import channels_last
from mmjax.backbones.vision.vit import resized
from mmjax.errors import UserError
from mmjax.nn.layers.attention import attention, merge_heads, split_heads
from mmjax.nn.layers.conv_norm import ConvNorm
from mmjax.nn.layers.dense import Dense

EXPANSION = 4  # channels that leave a block, in units of those of its 3x3 convolution
SMALLEST = 31  # pixels of a side of which one cell is left


def average_pool(x: Float[Array, "B H W channels"], side: int) -> Float[Array, "B y x channels"]:
    """Mean over windows of side x side pixels; an incomplete last window is dropped."""
    rows, columns = (size // side for size in x.shape[1:3])
    x = x[:, : rows * side, : columns * side]
    return jnp.mean(x.reshape(x.shape[0], rows, side, columns, side, -1), axis=(2, 4))


class Bottleneck(nn.Module):
    """relu(x + convolutions(x)) with an average pooling in place of a stride.

    Attributes:
        channels: of the 3x3 convolution; EXPANSION times as many come out.
        stride: factor by which height and width shrink.
        dtype: type of the computation; norms are in float32.
    """

    channels: int
    stride: int = 1
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "B H W channels"],
        real: Bool[Array, " B"] | None = None,
        *,
        deterministic: bool = True,
    ) -> Float[Array, "B y x out"]:
        """`real` says which pictures are, for the batch norms; None: all are."""

        def convolve(x, name, channels, side, activation):
            conv = ConvNorm(channels, side, 1, "batch", activation, self.dtype, name=name)
            return conv(x, real, deterministic=deterministic)

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


class ModifiedResNet(nn.Module):
    """pixel_values [B 3 H W] -> last_hidden_state [B N D], the last map row by row, and
    pooler_output [B E], the features that the attention pool reads off it.

    Attributes:
        width: channels after the stem; D is 32 times as many.
        layers: blocks of each of the four stages.
        heads: of the attention pool.
        features: E.
        grid: rows and columns of the last map, for the positions of the pool.
        dtype: type of the computation; norms are in float32.
        patch_size: pixels of a cell of the last map.
    """

    width: int
    layers: tuple[int, ...]
    heads: int
    features: int
    grid: tuple[int, int]
    dtype: Any = jnp.float32

    patch_size = (32, 32)

    @nn.compact
    def __call__(
        self,
        pixel_values: Float[Array, "B C H W"],
        real: Bool[Array, " B"] | None = None,
        *,
        output_hidden_states: bool = False,
        deterministic: bool = True,
    ) -> dict[str, Any]:
        """`real`: whose statistics the batch norms take in training; None: those of all.

        The hidden states are the map before the first stage and after each, row by row.

        Raises:
            UserError: images of other channels, or too small for one cell.
        """
        x, size = channels_last(pixel_values, 3), pixel_values.shape[2:]
        if min(size) < SMALLEST:
            raise UserError(
                f"pixel_values: {size[0]}x{size[1]} is smaller than {SMALLEST}x{SMALLEST}, of which"
                " one cell is left: resize the images"
            )
        for layer, channels in enumerate((self.width // 2, self.width // 2, self.width)):
            stride = 1 if layer else 2
            conv = ConvNorm(channels, 3, stride, dtype=self.dtype, name=f"stem_{layer}")
            x = conv(x, real, deterministic=deterministic)
        x = average_pool(x, 2)
        states = [x]
        for stage, count in enumerate(self.layers):
            for block in range(count):
                x = Bottleneck(
                    self.width * 2**stage,
                    2 if stage and not block else 1,
                    self.dtype,
                    name=f"stage_{stage}_block_{block}",
                )(x, real, deterministic=deterministic)
            states.append(x)
        pool = AttentionPool(self.heads, self.features, self.grid, self.dtype, name="pool")
        tokens = tuple(x.reshape(x.shape[0], -1, x.shape[3]) for x in states)
        outputs = {"last_hidden_state": tokens[-1], "pooler_output": pool(x)}
        return with_states(outputs, tokens, output_hidden_states)

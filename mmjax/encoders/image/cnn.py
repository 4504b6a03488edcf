"""Convolutional image encoder: a stack of 3x3 convolution blocks."""

from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mmjax.encoders.image.pixels import ImageEncoder, present
from mmjax.errors import UserError
from mmjax.nn.layers.convolution import ConvolutionBlock
from mmjax.nn.layers.dense import Dense
from mmjax.nn.layers.embedding import fold_patches
from mmjax.nn.layers.masking import zero_masked
from mmjax.nn.layers.options import activation, choose, initialiser
from mmjax.types import Tokens

# What becomes of the last grid [R y x channels]: tokens [R N channels].
OUTPUTS: Mapping[str, Callable[[Array], Array]] = {
    "flatten": lambda x: x.reshape(x.shape[0], 1, -1),
    "grid": lambda x: x.reshape(x.shape[0], -1, x.shape[-1]),
    "max": lambda x: jnp.max(x, axis=(1, 2))[:, None],
    "mean": lambda x: jnp.mean(x, axis=(1, 2), dtype=jnp.float32).astype(x.dtype)[:, None],
}


class Cnn(ImageEncoder):
    """uint8 images [R H W 3] -> one token for each cell of the last grid, or one for the image.

    The published easy-VQA network is `Cnn(32, channels=(8, 16), downsample="max", norm="none",
    output="flatten", output_activation="tanh")`.

    Attributes:
        width: D of the tokens; a dense layer takes the last channels there.
        channels: channels of each block.
        strides: factor by which each block shrinks the picture. None: 2 for each.
        downsample: how a block shrinks: "max" (pooling) or "stride" (strided convolution).
        norm: norm of each block: "group", "layer" or "none".
        activation: activation of each block.
        output: "grid" (a token a cell), "max" or "mean" (one token: the maximum or the mean over
            the cells) or "flatten" (one token from all cells: the image size is fixed at
            initialisation).
        output_activation: activation after the last dense layer.
        patch_size: side in pixels of the squares folded into channels before the first block.
        kernel_init: initialiser of all kernels, a name in `mmjax.nn.layers.options.INITIALISERS`.
        dropout: share dropped of what enters the last dense layer.
        pixel_mean, pixel_std: of the data, with pixels in 0..1; what the pixels are normalised by.
        dtype: type of the computation; norms are in float32.
    """

    width: int
    channels: tuple[int, ...] = (32, 64, 128)
    strides: tuple[int, ...] | None = None
    downsample: str = "stride"
    norm: str = "group"
    activation: str = "relu"
    output: str = "grid"
    output_activation: str = "identity"
    patch_size: int = 1
    pixel_mean: float = 0.5
    pixel_std: float = 0.5
    kernel_init: str = "lecun_normal"
    dropout: float = 0.0
    dtype: Any = jnp.float32

    @nn.compact
    def from_pixels(
        self,
        pixels: Float[Array, "R H W 3"],
        mask: Bool[Array, " R"] | None = None,
        *,
        deterministic: bool = True,
    ) -> Tokens:
        """Normalised images [R H W 3] and which of them are there -> Tokens [R N D].

        Raises:
            UserError: an unknown option, or sizes that do not divide.
        """
        strides = self.strides or (2,) * len(self.channels)
        if len(strides) != len(self.channels):
            raise UserError(
                f"cnn: {len(strides)} strides for {len(self.channels)} channels: give one for each"
            )
        rows = present(mask, pixels.shape[0])
        x = zero_masked(pixels, jnp.broadcast_to(rows[:, None, None], pixels.shape[:3]))
        x = fold_patches(x, self.patch_size)
        for layer, (channels, stride) in enumerate(zip(self.channels, strides, strict=True)):
            x = ConvolutionBlock(
                channels,
                stride,
                self.downsample,
                self.norm,
                self.activation,
                self.dtype,
                self.kernel_init,
                name=f"block_{layer}",
            )(x)
        x = choose(OUTPUTS, self.output, "output")(x)
        x = nn.Dropout(self.dropout, deterministic=deterministic)(x)
        init = initialiser(self.kernel_init)
        x = Dense(self.width, dtype=self.dtype, kernel_init=init, name="projection")(x)
        x = activation(self.output_activation)(x)
        tokens = jnp.broadcast_to(rows[:, None], x.shape[:2])
        return Tokens(zero_masked(x, tokens), tokens)


class GridEncoder(ImageEncoder):
    """What a method `grid` makes of images, whose last map [R y x C] becomes tokens [R N D].

    Subclasses have that method of (images, which are real, deterministic), and the attributes
    `width` (D), `output` (a name in OUTPUTS), `dropout` (of what enters the last dense layer) and
    `dtype`.
    """

    @nn.compact
    def from_pixels(
        self,
        pixels: Float[Array, "R H W 3"],
        mask: Bool[Array, " R"] | None = None,
        *,
        deterministic: bool = True,
    ) -> Tokens:
        """Normalised images [R H W 3] and which of them are there -> Tokens [R N D].

        Raises:
            UserError: an unknown option.
        """
        rows = present(mask, pixels.shape[0])
        x = zero_masked(pixels, jnp.broadcast_to(rows[:, None, None], pixels.shape[:3]))
        x = choose(OUTPUTS, self.output, "output")(self.grid(x, rows, deterministic))
        x = nn.Dropout(self.dropout, deterministic=deterministic)(x)
        x = Dense(self.width, dtype=self.dtype, name="projection")(x)
        tokens = jnp.broadcast_to(rows[:, None], x.shape[:2])
        return Tokens(zero_masked(x, tokens), tokens)

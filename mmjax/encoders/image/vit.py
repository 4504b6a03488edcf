"""Vision transformer (Dosovitskiy et al. 2021, https://arxiv.org/abs/2010.11929)."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Shaped

from mmjax.encoders.image.pixels import normalise, present
from mmjax.nn.convolution import ConvolutionBlock
from mmjax.nn.embedding import GridPositions, PatchEmbedding
from mmjax.nn.masking import zero_masked
from mmjax.nn.pooling import window_mean
from mmjax.nn.transformer import Transformer
from mmjax.types import Tokens, UserError


class Vit(nn.Module):
    """uint8 images [R H W 3] -> one token for each patch, or for each window of patches.

    Attributes:
        width: D of the tokens.
        patch_size: side of a patch in pixels, the stem's strides included; it divides H and W.
        layers, heads, mlp_ratio, dropout: of the transformer.
        stem: channels of 3x3 convolutions of stride 2 before the patches are cut (Xiao et al. 2021,
            https://arxiv.org/abs/2106.14881). None: no stem.
        stem_norm: norm of the stem: "group", "layer" or "none".
        pool: side of the windows of patches whose mean is a token. 1: every patch is a token.
        pixel_mean, pixel_std: of the data, with pixels in 0..1; what the pixels are normalised by.
        dtype: type of the computation; norms and softmax are in float32.
    """

    width: int
    patch_size: int = 8
    layers: int = 4
    heads: int = 4
    mlp_ratio: float | int = 4
    stem: tuple[int, ...] | None = None
    stem_norm: str = "group"
    pool: int = 1
    pixel_mean: float = 0.5
    pixel_std: float = 0.5
    dropout: float = 0.0
    dtype: Any = jnp.float32

    def __call__(
        self,
        value: Shaped[Array, "R H W 3"],
        mask: Bool[Array, " R"] | None = None,
        *,
        deterministic: bool = True,
    ) -> Tokens:
        """Images [R H W 3] and which of them are there -> Tokens [R N D].

        Raises:
            UserError: not uint8, or sizes that do not divide as the attributes say.
        """
        pixels = normalise(value, self.dtype, self.pixel_mean, self.pixel_std)
        return self.from_pixels(pixels, mask, deterministic=deterministic)

    @nn.compact
    def from_pixels(
        self,
        pixels: Float[Array, "R H W 3"],
        mask: Bool[Array, " R"] | None = None,
        *,
        deterministic: bool = True,
    ) -> Tokens:
        """The same from normalised pixels, of which a gradient may be taken."""
        shrink = 2 ** len(self.stem or ())
        if self.patch_size % shrink:
            raise UserError(
                f"vit: patch_size {self.patch_size} is not a multiple of {shrink}, the stride of a"
                f" stem of {len(self.stem or ())} convolutions: choose another patch_size or stem"
            )
        rows = present(mask, pixels.shape[0])
        x = zero_masked(pixels, jnp.broadcast_to(rows[:, None, None], pixels.shape[:3]))
        for layer, channels in enumerate(self.stem or ()):
            x = ConvolutionBlock(
                channels, stride=2, norm=self.stem_norm, dtype=self.dtype, name=f"stem_{layer}"
            )(x)
        x = PatchEmbedding(self.width, self.patch_size // shrink, self.dtype, name="patches")(x)
        x = GridPositions(name="positions")(x)
        grid = x.shape
        x = nn.Dropout(self.dropout, deterministic=deterministic)(x)
        x = Transformer(
            self.layers, self.heads, self.mlp_ratio, self.dropout, self.dtype, name="transformer"
        )(x.reshape(grid[0], -1, self.width), deterministic=deterministic)
        x = window_mean(x.reshape(grid), self.pool).reshape(grid[0], -1, self.width)
        tokens = jnp.broadcast_to(rows[:, None], x.shape[:2])
        return Tokens(zero_masked(x, tokens), tokens)

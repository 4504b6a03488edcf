"""The encoder of VideoMAE (Tong et al. 2022, https://arxiv.org/abs/2203.12602)."""

from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Shaped

from mmjax.encoders.video.frames import normalise, real_frames, zero_frames
from mmjax.encoders.video.sizes import inner_size
from mmjax.nn.layers.dense import Dense
from mmjax.nn.layers.layer_norm import LayerNorm
from mmjax.nn.layers.masking import zero_masked
from mmjax.nn.layers.options import choose
from mmjax.nn.layers.pooling import masked_mean
from mmjax.nn.layers.positions import sinusoids
from mmjax.nn.layers.transformer import Block
from mmjax.nn.layers.tubelets import TubeletEmbedding, real_tubelets
from mmjax.types import Tokens

# From the last block's tokens and their mask: what the closing norm gets, and its mask.
OUTPUTS: Mapping[str, Callable[[Array, Array], tuple[Array, Array]]] = {
    "mean": lambda x, mask: (masked_mean(x, mask)[:, None], jnp.any(mask, 1, keepdims=True)),
    "sequence": lambda x, mask: (x, mask),
}


class VideoMae(nn.Module):
    """uint8 clips [R T H W 3] -> a token for each tubelet, of time t, row and column in this order.

    A vision transformer over tubelets with fixed sinusoidal positions and no class token.
    Masked frames are grey (zeros after normalisation). A tubelet is real if any of its frames is:
    it then reads its masked frames as grey. Keys have a bias, which the paper's have not: the
    softmax cancels it.

    Attributes:
        width: D of the tokens; a last dense layer takes them there if `size` is of another width.
        patch_size: side of a tubelet in pixels; it divides H and W.
        tubelet_frames: length of a tubelet in frames; it divides T.
        size: "Ti", "S", "B", "L" or "H": inner width, layers and heads, as of image transformers;
            the paper's have patch_size 16. None: the inner width is `width`.
        layers, heads: of the transformer. None: as `size` says; without a size 4 and 4.
        mlp_ratio, dropout: of the transformer.
        remat: recompute each block in the backward pass, to save memory.
        output: "sequence" (all tokens, each normalised) or "mean" (one token: the mean of the real
            tokens, then normalised, as in the paper's fine-tuning).
        pixel_mean, pixel_std: of the data, with pixels in 0..1, one number or one for each channel;
            what the pixels are normalised by.
        dtype: type of the computation; norms and softmax are in float32.
    """

    width: int
    patch_size: int = 8
    tubelet_frames: int = 2
    size: str | None = None
    layers: int | None = None
    heads: int | None = None
    mlp_ratio: float | int = 4
    output: str = "sequence"
    pixel_mean: float | tuple[float, ...] = 0.5
    pixel_std: float | tuple[float, ...] = 0.5
    dropout: float = 0.0
    dtype: Any = jnp.float32
    remat: bool = False

    def __call__(
        self,
        value: Shaped[Array, "R T H W 3"],
        mask: Bool[Array, "R T"] | None = None,
        *,
        visible: Bool[Array, "R N"] | None = None,
        deterministic: bool = True,
    ) -> Tokens:
        """Clips [R T H W 3] and which frames are there -> Tokens [R N D].

        Args:
            value, mask: the clips, and which of their frames are real.
            visible: the tubelets that may be read, such as `random_tube_mask` gives for
                pretraining; the others are as masked. None: all of them.
            deterministic: no dropout.

        Raises:
            UserError: not uint8, an unknown option, or sizes that do not divide as the attributes
                say.
        """
        pixels = normalise(value, self.dtype, self.pixel_mean, self.pixel_std)
        return self.from_pixels(pixels, mask, visible=visible, deterministic=deterministic)

    @nn.compact
    def from_pixels(
        self,
        pixels: Float[Array, "R T H W 3"],
        mask: Bool[Array, "R T"] | None = None,
        *,
        visible: Bool[Array, "R N"] | None = None,
        deterministic: bool = True,
    ) -> Tokens:
        """The same from normalised pixels, of which a gradient may be taken."""
        mask = real_frames(mask, pixels)
        inner, layers, heads = inner_size(self.size, self.width, self.layers, self.heads)
        x = TubeletEmbedding(
            inner, self.tubelet_frames, self.patch_size, self.dtype, name="tubelets"
        )(zero_frames(pixels, mask))
        rows, _, height, width, _ = x.shape
        x = x.reshape(rows, -1, inner)
        tokens = jnp.repeat(real_tubelets(mask, self.tubelet_frames), height * width, axis=1)
        if visible is not None:
            tokens = tokens & visible
        x = x + sinusoids(x.shape[1], inner).astype(x.dtype)
        x = nn.Dropout(self.dropout, deterministic=deterministic)(x)

        def run(block, x):
            return block(x, tokens, deterministic=deterministic)

        for layer in range(layers):
            block = Block(
                heads,
                self.mlp_ratio,
                self.dropout,
                self.dtype,
                activation="gelu_exact",
                name=f"block_{layer}",
            )
            x = (nn.remat(run) if self.remat else run)(block, x)
        x, kept = choose(OUTPUTS, self.output, "output")(x, tokens)
        x = LayerNorm(name="norm")(x).astype(self.dtype)
        if inner != self.width:
            x = Dense(self.width, dtype=self.dtype, name="projection")(x)
        return Tokens(zero_masked(x, kept), kept)

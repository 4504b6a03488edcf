"""The encoder of VideoMAE (Tong et al. 2022, https://arxiv.org/abs/2203.12602)."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Shaped

from mmjax.backbones.vision import video_mae
from mmjax.encoders.image.vit import inner_size
from mmjax.encoders.video.frames import normalise, real_frames, zero_frames
from mmjax.nn.layers.dense import Dense
from mmjax.nn.layers.masking import zero_masked
from mmjax.nn.layers.options import choose, shared
from mmjax.types import Tokens

# Whether the one token that comes out is the mean of all.
OUTPUTS: Mapping[str, bool] = {"mean": True, "sequence": False}


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
        pooled = choose(OUTPUTS, self.output, "output")
        options = shared(self, video_mae.VideoMae)
        options |= {"width": inner, "layers": layers, "heads": heads}
        options["tubelet"] = (self.tubelet_frames, self.patch_size, self.patch_size)
        backbone = video_mae.VideoMae(
            **options, final_norm=not pooled, pooling="mean" if pooled else None
        )
        nn.share_scope(self, backbone)
        video = zero_frames(pixels, mask)
        found = backbone.encode(video, mask, visible=visible, deterministic=deterministic)
        x, tokens = found.tokens, found.mask
        if pooled:
            x, tokens = found.pooled[:, None], jnp.any(tokens, 1, keepdims=True)
        if inner != self.width:
            x = Dense(self.width, dtype=self.dtype, name="projection")(x)
        return Tokens(zero_masked(x, tokens), tokens)

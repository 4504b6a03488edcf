"""Video vision transformer (Arnab et al. 2021, https://arxiv.org/abs/2103.15691)."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mmjax.backbones.vision import vivit
from mmjax.encoders.image.vit import inner_size
from mmjax.encoders.video.frames import VideoEncoder, real_frames, zero_frames
from mmjax.nn.layers.dense import Dense
from mmjax.nn.layers.masking import zero_masked
from mmjax.nn.layers.options import choose, shared
from mmjax.types import Tokens

# Whether a learned token speaks for a sequence, or the mean of the real ones.
SUMMARIES: Mapping[str, bool] = {"class": True, "mean": False}
# Whether all tokens come out, or the summary.
OUTPUTS: Mapping[str, bool] = {"sequence": True, "summary": False}


class Vivit(VideoEncoder):
    """uint8 clips [R T H W 3] -> a token for each tubelet ("joint") or each time ("factorised").

    Masked frames are grey (zeros after normalisation). A tubelet is real if any of its frames is:
    it then reads its masked frames as grey. A shorter clip than at initialisation uses the first
    positions in time; for frames of another size the positions in space are interpolated. The class
    token has no position of its own, as the sum of both would be one vector.

    Attributes:
        width: D of the tokens; a last dense layer takes them there if `size` is of another width.
        patch_size: side of a tubelet in pixels; it divides H and W.
        tubelet_frames: length of a tubelet in frames; it divides T.
        model: "joint" (space-time attention over all tubelets) or "factorised" (a spatial
            transformer for each time, then a temporal one over their summaries).
        size: "Ti", "S", "B", "L" or "H": inner width, layers and heads, as of image transformers;
            the paper's ViViT-B/16x2 is size "B", patch_size 16. None: the inner width is `width`.
        layers, heads: of the joint or of the spatial transformer. None: as `size` says; without a
            size 4 and 4. The temporal transformer has as many heads.
        temporal_layers: of the temporal transformer of the factorised model.
        mlp_ratio, dropout, remat: of all transformers.
        summary: what speaks for a sequence: "class" (a learned token in front of it) or "mean"
            (of the real tokens).
        output: "sequence" (all tokens, the class token first) or "summary" (one token).
        pixel_mean, pixel_std: of the data, with pixels in 0..1, one number or one for each channel;
            what the pixels are normalised by.
        dtype: type of the computation; norms and softmax are in float32.
    """

    width: int
    patch_size: int = 8
    tubelet_frames: int = 2
    model: str = "joint"
    size: str | None = None
    layers: int | None = None
    heads: int | None = None
    temporal_layers: int = 4
    mlp_ratio: float | int = 4
    summary: str = "class"
    output: str = "sequence"
    pixel_mean: float | tuple[float, ...] = 0.5
    pixel_std: float | tuple[float, ...] = 0.5
    dropout: float = 0.0
    dtype: Any = jnp.float32
    remat: bool = False

    @nn.compact
    def from_pixels(
        self,
        pixels: Float[Array, "R T H W 3"],
        mask: Bool[Array, "R T"] | None = None,
        *,
        deterministic: bool = True,
    ) -> Tokens:
        """Normalised clips [R T H W 3] and which of their frames are there -> Tokens [R N D].

        Raises:
            UserError: an unknown option, sizes that do not divide as the attributes say, or a
                longer clip than at initialisation.
        """
        mask = real_frames(mask, pixels)
        inner, layers, heads = inner_size(self.size, self.width, self.layers, self.heads)
        options = shared(self, vivit.Vivit)
        options |= {"width": inner, "layers": layers, "heads": heads}
        backbone = vivit.Vivit(
            **options,
            tubelet=(self.tubelet_frames, self.patch_size, self.patch_size),
            class_token=choose(SUMMARIES, self.summary, "summary"),
            pooling=self.summary,
        )
        nn.share_scope(self, backbone)
        found = backbone.encode(zero_frames(pixels, mask), mask, deterministic=deterministic)
        x, tokens = found.tokens, found.mask
        if not choose(OUTPUTS, self.output, "output"):
            x, tokens = found.pooled[:, None], jnp.any(tokens, 1, keepdims=True)
        if inner != self.width:
            x = Dense(self.width, dtype=self.dtype, name="projection")(x)
        return Tokens(zero_masked(x, tokens), tokens)

"""Vision transformer (Dosovitskiy et al. 2021, https://arxiv.org/abs/2010.11929)."""

from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mmjax.backbones.vision.vit import VisionTransformer
from mmjax.encoders.image.pixels import ImageEncoder, present
from mmjax.errors import UserError
from mmjax.nn.layers.dense import Dense
from mmjax.nn.layers.masking import zero_masked
from mmjax.nn.layers.options import choose, shared
from mmjax.nn.layers.pooling import window_mean
from mmjax.types import Tokens

# The sizes of the papers (Ti and S: Touvron et al. 2021, https://arxiv.org/abs/2012.12877):
# inner width, layers, heads.
SIZES = {
    "Ti": (192, 12, 3),
    "S": (384, 12, 6),
    "B": (768, 12, 12),
    "L": (1024, 24, 16),
    "H": (1280, 32, 16),
}


def inner_size(
    size: str | None, width: int, layers: int | None, heads: int | None
) -> tuple[int, int, int]:
    """Inner width, layers and heads of `size`; layers and heads that are given go before it.

    Without a size: `width`, 4 and 4.

    Raises:
        UserError: an unknown size.
    """
    inner, depth, count = (width, 4, 4) if size is None else choose(SIZES, size, "size")
    return inner, depth if layers is None else layers, count if heads is None else heads


# From the class token [R 1 D] (or none: [R 0 D]) and the patches [R N D]: the tokens.
OUTPUTS: Mapping[str, Callable[[Array, Array], Array]] = {
    "all": lambda summary, patches: jnp.concatenate([summary, patches], axis=1),
    "class": lambda summary, _: summary,
    "grid": lambda _, patches: patches,
}


class Vit(ImageEncoder):
    """uint8 images [R H W 3] -> one token for each patch, or for each window of patches.

    Images of another size than at initialisation may follow: learned positions are interpolated.

    Attributes:
        width: D of the tokens; a last dense layer takes them there if `size` is of another width.
        patch_size: side of a patch in pixels, the stem's strides included; it divides H and W.
        size: "Ti", "S", "B", "L" or "H": inner width, layers and heads of the papers. None: the
            inner width is `width`.
        layers, heads: of the transformer. None: as `size` says; without a size 4 and 4.
        mlp_ratio, dropout, activation, epsilon, layer_scale, remat: of the transformer.
        stem: channels of 3x3 convolutions of stride 2 before the patches are cut (Xiao et al. 2021,
            https://arxiv.org/abs/2106.14881). None: no stem.
        stem_norm: norm of the stem: "group", "layer" or "none".
        positions: "learned" (added to each patch), "sincos" (fixed, added), "rotary" (queries and
            keys turn with row and column) or "none".
        class_token: whether a learned token joins the patches; it has no position.
        registers: number of further learned tokens, of which none comes out (Darcet et al. 2024,
            https://arxiv.org/abs/2309.16588).
        pool: side of the windows of patches whose mean is a token. 1: every patch is a token.
        output: "grid" (the patches), "class" (the class token) or "all" (the class token if there
            is one, then the patches).
        pixel_mean, pixel_std: of the data, with pixels in 0..1; what the pixels are normalised by.
        dtype: type of the computation; norms and softmax are in float32.
    """

    width: int
    patch_size: int = 8
    layers: int | None = None
    heads: int | None = None
    mlp_ratio: float | int = 4
    stem: tuple[int, ...] | None = None
    stem_norm: str = "group"
    pool: int = 1
    pixel_mean: float | tuple[float, ...] = 0.5
    pixel_std: float | tuple[float, ...] = 0.5
    dropout: float = 0.0
    dtype: Any = jnp.float32
    size: str | None = None
    positions: str = "learned"
    class_token: bool = False
    registers: int = 0
    output: str = "grid"
    activation: str = "gelu"
    epsilon: float = 1e-6
    layer_scale: float | None = None
    remat: bool = False

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
            UserError: an unknown option, options that do not fit each other, or sizes that do not
                divide as the attributes say.
        """
        width, layers, heads = inner_size(self.size, self.width, self.layers, self.heads)
        if self.output == "class" and (not self.class_token or self.pool != 1):
            raise UserError(
                "vit: output 'class' is the class token alone: it needs class_token=True and pool=1"
            )
        rows = present(mask, pixels.shape[0])
        pixels = zero_masked(pixels, jnp.broadcast_to(rows[:, None, None], pixels.shape[:3]))
        size = {"width": width, "layers": layers, "heads": heads}
        backbone = VisionTransformer(**shared(self, VisionTransformer) | size)
        nn.share_scope(self, backbone)
        x = backbone.encode(pixels, deterministic=deterministic).tokens
        grid = (x.shape[0], *(side // self.patch_size for side in pixels.shape[1:3]), width)
        patches = window_mean(x[:, backbone.lead :].reshape(grid), self.pool)
        patches = patches.reshape(grid[0], -1, width)
        x = choose(OUTPUTS, self.output, "output")(x[:, : int(self.class_token)], patches)
        if width != self.width:
            x = Dense(self.width, dtype=self.dtype, name="projection")(x)
        tokens = jnp.broadcast_to(rows[:, None], x.shape[:2])
        return Tokens(zero_masked(x, tokens), tokens)

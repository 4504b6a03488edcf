"""Vision transformer (Dosovitskiy et al. 2021, https://arxiv.org/abs/2010.11929)."""

from collections.abc import Callable, Mapping

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array

from mmjax.backbones.vision.vit import VisionTransformer
from mmjax.encoders.encoder import Encoder
from mmjax.encoders.image.pixels import ImageEncoder, of_rows
from mmjax.errors import UserError
from mmjax.nn.layers.dense import Dense
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


class SizedEncoder(Encoder):
    """An encoder by a transformer over patches, which has a size of a paper, or any other.

    Attributes:
        width: D of the tokens; a last dense layer takes them there if `size` is of another width.
        patch_size: side of a patch in pixels; it divides H and W.
        size: "Ti", "S", "B", "L" or "H": inner width, layers and heads of the papers. None: the
            inner width is `width`.
        layers, heads: of the transformer. None: as `size` says; without a size 4 and 4.
        mlp_ratio: of the transformer.
        remat: recompute each block in the backward pass, to save memory.
        scan: compile one block and run it `layers` times, which compiles in less time.
    """

    patch_size: int = 8
    size: str | None = None
    layers: int | None = None
    heads: int | None = None
    mlp_ratio: float | int = 4
    remat: bool = False
    scan: bool = False

    def inner(self) -> dict[str, int]:
        """Inner width, layers and heads; those that are given go before those of `size`.

        Raises:
            UserError: an unknown size.
        """
        sizes = (self.width, 4, 4) if self.size is None else choose(SIZES, self.size, "size")
        found = dict(zip(("width", "layers", "heads"), sizes, strict=True))
        given = {"layers": self.layers, "heads": self.heads}
        return found | {name: count for name, count in given.items() if count is not None}

    def project(self, x: Array) -> Array:
        """From the inner width to `width`, if that is another; call it in a compact method."""
        if x.shape[-1] == self.width:
            return x
        return Dense(self.width, dtype=self.dtype, name="projection")(x)


# From the class token [R 1 D] (or none: [R 0 D]) and the patches [R N D]: the tokens.
OUTPUTS: Mapping[str, Callable[[Array, Array], Array]] = {
    "all": lambda summary, patches: jnp.concatenate([summary, patches], axis=1),
    "class": lambda summary, _: summary,
    "grid": lambda _, patches: patches,
}


class Vit(SizedEncoder, ImageEncoder):
    """uint8 images [R H W 3] -> one token for each patch, or for each window of patches.

    Images of another size than at initialisation may follow: learned positions are interpolated.

    Attributes:
        patch_size: side of a patch in pixels, the stem's strides included; it divides H and W.
        activation, epsilon, layer_scale: of the transformer.
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
    """

    stem: tuple[int, ...] | None = None
    stem_norm: str = "group"
    pool: int = 1
    positions: str = "learned"
    class_token: bool = False
    registers: int = 0
    output: str = "grid"
    activation: str = "gelu"
    epsilon: float = 1e-6
    layer_scale: float | None = None

    @nn.compact
    def encode(self, x: Array, rows: Array, deterministic: bool) -> Tokens:
        """Tokens [R N D].

        Raises:
            UserError: options that do not fit each other, or sizes that do not divide as the
                attributes say.
        """
        if self.output == "class" and (not self.class_token or self.pool != 1):
            raise UserError(
                "vit: output 'class' is the class token alone: it needs class_token=True and pool=1"
            )
        backbone = VisionTransformer(**shared(self, VisionTransformer) | self.inner())
        nn.share_scope(self, backbone)
        sides = [side // self.patch_size for side in x.shape[1:3]]
        x = backbone.encode(x, deterministic=deterministic).tokens
        rest = x[:, backbone.lead :]
        patches = window_mean(rest.reshape(len(x), *sides, -1), self.pool)
        patches = patches.reshape(len(x), -1, x.shape[-1])
        x = choose(OUTPUTS, self.output, "output")(x[:, : int(self.class_token)], patches)
        return of_rows(self.project(x), rows)

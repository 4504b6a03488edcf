"""Encoders whose tokens are the cells of a map, or one from all of them."""

from collections.abc import Callable, Mapping

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array

from mmjax.encoders.image.pixels import IMAGENET_MEAN, IMAGENET_STD, Constant, ImageEncoder, of_rows
from mmjax.nn.layers.dense import Dense
from mmjax.nn.layers.options import choose
from mmjax.types import Tokens

# What becomes of the last grid [R y x channels]: tokens [R N channels].
OUTPUTS: Mapping[str, Callable[[Array], Array]] = {
    "flatten": lambda x: x.reshape(x.shape[0], 1, -1),
    "grid": lambda x: x.reshape(x.shape[0], -1, x.shape[-1]),
    "max": lambda x: jnp.max(x, axis=(1, 2))[:, None],
    "mean": lambda x: jnp.mean(x, axis=(1, 2), dtype=jnp.float32).astype(x.dtype)[:, None],
}


class GridEncoder(ImageEncoder, kw_only=True):
    """What a method `grid` makes of images, whose last map [R y x C] becomes tokens [R N D].

    Subclasses have that method of (images, which are real, deterministic).

    Attributes:
        width: D of the tokens; a dense layer takes the last channels there.
        output: "grid" (a token a cell), "mean" or "max" (one token: the mean or the maximum over
            the cells) or "flatten" (one token from all cells: the image size is fixed at
            initialisation).
        dropout: share dropped of what enters the last dense layer.
    """

    output: str = "grid"

    @nn.compact
    def encode(self, x: Array, rows: Array, deterministic: bool) -> Tokens:
        """Tokens [R N D] of the last map."""
        x = choose(OUTPUTS, self.output, "output")(self.grid(x, rows, deterministic))
        x = nn.Dropout(self.dropout, deterministic=deterministic)(x)
        return of_rows(self.project(x), rows)

    def project(self, x: Array) -> Array:
        """The last dense layer."""
        return Dense(self.width, dtype=self.dtype, name="projection")(x)


class ImageNetEncoder(GridEncoder, kw_only=True):
    """A grid of a network that was published for ImageNet."""

    pixel_mean: Constant = IMAGENET_MEAN
    pixel_std: Constant = IMAGENET_STD

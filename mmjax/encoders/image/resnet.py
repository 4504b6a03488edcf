"""Residual network (He et al. 2016, https://arxiv.org/abs/1512.03385)."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Shaped

from mmjax.backbones.vision import resnet
from mmjax.encoders.image.cnn import OUTPUTS
from mmjax.encoders.image.pixels import IMAGENET_MEAN, IMAGENET_STD, normalise, present
from mmjax.nn.layers.dense import Dense
from mmjax.nn.layers.masking import zero_masked
from mmjax.nn.layers.options import choose, shared
from mmjax.types import Tokens


class ResNet(nn.Module):
    """uint8 images [R H W 3] -> one token for each cell of the last map, or one for the image.

    The layers are those of torchvision's resnet18, 34, 50, 101 and 152 without the classifier.

    Attributes:
        width: D of the tokens; a dense layer takes the channels of the last map there.
        depth: 10, 18, 34, 50, 101 or 152.
        norm: "batch" (in training a row's output depends on the other real rows; running statistics
            in the collection "batch_stats"), or "group", "layer" or "none", which do not mix rows.
        stem: "standard" (the map is 32 times smaller than the image), or "small" for small images
            (8 times smaller).
        channels: of the first stage, doubled by each stage; 64 in the paper.
        output: "grid" (a token a cell), "mean" or "max" (one token: the mean or the maximum over
            the cells) or "flatten" (one token from all cells: the image size is fixed at
            initialisation).
        pixel_mean, pixel_std: of the data, with pixels in 0..1; what the pixels are normalised by.
        dropout: share dropped of what enters the last dense layer.
        dtype: type of the computation; norms are in float32.
    """

    width: int
    depth: int = 18
    norm: str = "batch"
    stem: str = "standard"
    channels: int = 64
    output: str = "grid"
    pixel_mean: float | tuple[float, ...] = IMAGENET_MEAN
    pixel_std: float | tuple[float, ...] = IMAGENET_STD
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
            UserError: not uint8, or an unknown option.
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
        rows = present(mask, pixels.shape[0])
        x = zero_masked(pixels, jnp.broadcast_to(rows[:, None, None], pixels.shape[:3]))
        stages = resnet.stages_of(self.depth, self.channels)
        trunk = resnet.ResNet(stages, **shared(self, resnet.ResNet), name="trunk")
        x = trunk.encode(x, rows, deterministic=deterministic)[-1]
        x = choose(OUTPUTS, self.output, "output")(x)
        x = nn.Dropout(self.dropout, deterministic=deterministic)(x)
        x = Dense(self.width, dtype=self.dtype, name="projection")(x)
        tokens = jnp.broadcast_to(rows[:, None], x.shape[:2])
        return Tokens(zero_masked(x, tokens), tokens)

"""Residual network (He et al. 2016, https://arxiv.org/abs/1512.03385)."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from mmjax.backbones.vision import resnet
from mmjax.encoders.image.cnn import GridEncoder
from mmjax.encoders.image.pixels import IMAGENET_MEAN, IMAGENET_STD
from mmjax.nn.layers.options import shared


class ResNet(GridEncoder):
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

    def grid(self, x: Array, rows: Array, deterministic: bool) -> Float[Array, "R y x C"]:
        """The last map."""
        stages = resnet.stages_of(self.depth, self.channels)
        trunk = resnet.ResNet(stages, **shared(self, resnet.ResNet), name="trunk")
        return trunk.encode(x, rows, deterministic=deterministic)[-1]

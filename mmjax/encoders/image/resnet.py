"""Residual network (He et al. 2016, https://arxiv.org/abs/1512.03385)."""

from jaxtyping import Array, Float

from mmjax.backbones.vision import resnet
from mmjax.encoders.image.grid import ImageNetEncoder
from mmjax.nn.layers.options import shared


class ResNet(ImageNetEncoder):
    """uint8 images [R H W 3] -> one token for each cell of the last map, or one for the image.

    The layers are those of torchvision's resnet18, 34, 50, 101 and 152 without the classifier.

    Attributes:
        depth: 10, 18, 34, 50, 101 or 152.
        norm: "batch" (in training a row's output depends on the other real rows; running statistics
            in the collection "batch_stats"), or "group", "layer" or "none", which do not mix rows.
        stem: "standard" (the map is 32 times smaller than the image), or "small" for small images
            (8 times smaller).
        channels: of the first stage, doubled by each stage; 64 in the paper.
    """

    depth: int = 18
    norm: str = "batch"
    stem: str = "standard"
    channels: int = 64

    def grid(self, x: Array, rows: Array, deterministic: bool) -> Float[Array, "R y x C"]:
        """The last map."""
        stages = resnet.stages_of(self.depth, self.channels)
        trunk = resnet.ResNet(stages, **shared(self, resnet.ResNet), name="trunk")
        return trunk.encode(x, rows, deterministic=deterministic)[-1]

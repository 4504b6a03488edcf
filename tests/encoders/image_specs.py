"""Image encoders under the contract tests."""

from mmjax.encoders.image.cnn import Cnn
from mmjax.encoders.image.vit import Vit
from tests.encoders.spec import LARGE_IMAGE, Spec, image

SPECS = {
    "vit": Spec(Vit, image, LARGE_IMAGE, {"layers": 1}, {"layers": 24}),
    "vit_stem": Spec(Vit, image, LARGE_IMAGE, {"layers": 1, "stem": (16, 32), "pool": 2}),
    "cnn": Spec(Cnn, image, LARGE_IMAGE),
    "cnn_flatten": Spec(Cnn, image, LARGE_IMAGE, {"output": "flatten", "downsample": "max"}),
    "cnn_max": Spec(Cnn, image, LARGE_IMAGE, {"output": "max", "norm": "none"}),
    "cnn_mean": Spec(Cnn, image, LARGE_IMAGE, {"output": "mean", "norm": "layer"}),
}

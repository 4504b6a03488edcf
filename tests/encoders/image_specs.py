"""Image encoders under the contract tests."""

from mmjax.encoders.image.cnn import Cnn
from mmjax.encoders.image.mobilenet import STAGES, MobileNetV2
from mmjax.encoders.image.resnet import ResNet
from mmjax.encoders.image.vit import Vit
from tests.encoders.spec import LARGE_IMAGE, Spec, image

SPECS = {
    "vit": Spec(Vit, image, LARGE_IMAGE, {"layers": 1}, {"layers": 24}),
    "vit_stem": Spec(Vit, image, LARGE_IMAGE, {"layers": 1, "stem": (16, 32), "pool": 2}),
    "vit_class": Spec(
        Vit,
        image,
        LARGE_IMAGE,
        {"layers": 1, "class_token": True, "output": "class", "positions": "rotary"},
        {"size": "H", "patch_size": 14, "registers": 4, "layers": None},
    ),
    "vit_all": Spec(
        Vit,
        image,
        LARGE_IMAGE,
        {
            "layers": 1,
            "class_token": True,
            "registers": 2,
            "output": "all",
            "positions": "sincos",
            "layer_scale": 0.1,
            "remat": True,
        },
    ),
    "cnn": Spec(Cnn, image, LARGE_IMAGE),
    "cnn_flatten": Spec(Cnn, image, LARGE_IMAGE, {"output": "flatten", "downsample": "max"}),
    "cnn_max": Spec(Cnn, image, LARGE_IMAGE, {"output": "max", "norm": "none"}),
    "cnn_mean": Spec(Cnn, image, LARGE_IMAGE, {"output": "mean", "norm": "layer"}),
    "resnet": Spec(ResNet, image, LARGE_IMAGE, {"depth": 10, "channels": 16}, {"depth": 50}),
    "resnet_group": Spec(
        ResNet,
        image,
        LARGE_IMAGE,
        {"depth": 10, "channels": 16, "norm": "group", "stem": "small", "output": "mean"},
    ),
    "mobilenet": Spec(
        MobileNetV2,
        image,
        LARGE_IMAGE,
        {"stages": ((1, 16, 1, 1), (6, 24, 2, 2))},
        {"stages": STAGES, "width_multiplier": 1.4},
    ),
}

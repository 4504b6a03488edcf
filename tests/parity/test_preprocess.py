"""Inputs of pretrained models against the processors of transformers, timm, open_clip, torchvision.

Images are equal to one unit of float32; torchvision's own resizing is up to two grey levels off.
"""

import numpy as np
import PIL.Image
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from mmjax.interop.preprocess.images.image_classes import OF_TYPES, plain  # noqa: E402
from mmjax.interop.preprocess.images.processor import image_processor  # noqa: E402
from mmjax.interop.preprocess.processors import TORCHVISION  # noqa: E402

SIZES = [(224, 224), (225, 301), (1, 5), (13, 7), (640, 97), (50, 333)]


def image(size, channels=3, seed=0):
    """Noise under a slope, so that resizing has both to smooth and to keep."""
    noise = np.random.default_rng(seed).integers(0, 256, (*size, channels))
    slope = np.linspace(0, 255, size[0])[:, None, None]
    return ((noise + slope) / 2).astype(np.uint8)


def pil_class(name):
    """The class of transformers that resizes with Pillow: its own from version 5, all before."""
    for candidate in (name + "Pil", name):
        if hasattr(transformers, candidate):
            return getattr(transformers, candidate)
    raise AssertionError(name)


def compare(ours, theirs):
    assert set(ours) == set(theirs)
    for key, value in theirs.items():
        assert ours[key].shape == value.shape
        np.testing.assert_allclose(ours[key], value, atol=1e-6, rtol=0)


CASES = [
    ("CLIPImageProcessor", {}),
    ("CLIPImageProcessor", {"size": 40, "crop_size": 51, "resample": 1}),
    ("CLIPImageProcessor", {"do_resize": False, "crop_size": {"height": 33, "width": 64}}),
    ("SiglipImageProcessor", {"size": {"height": 65, "width": 48}}),
    ("ViTImageProcessor", {}),
    ("ViTImageProcessor", {"size": 37, "resample": 3, "image_std": [0.2, 0.3, 0.4]}),
    ("ViTImageProcessor", {"do_rescale": False}),
    ("ViTImageProcessor", {"do_normalize": False, "rescale_factor": 0.01, "resample": 0}),
    ("BitImageProcessor", {"size": {"shortest_edge": 63}, "crop_size": 56}),
    ("DeiTImageProcessor", {}),
    ("ConvNextImageProcessor", {}),
    ("ConvNextImageProcessor", {"size": 224, "crop_pct": 0.875}),
    ("ConvNextImageProcessor", {"size": {"shortest_edge": 90}, "crop_pct": 0.7, "resample": 2}),
    ("EfficientNetImageProcessor", {"size": 60}),
    ("EfficientNetImageProcessor", {"size": 61, "rescale_offset": True, "rescale_factor": 0.008}),
    ("EfficientNetImageProcessor", {"size": 9, "include_top": False, "do_center_crop": True}),
    ("EfficientNetImageProcessor", {"size": 9, "do_normalize": False, "resample": 0}),
    ("MobileNetV1ImageProcessor", {}),
    ("MobileNetV2ImageProcessor", {"size": {"shortest_edge": 63}, "crop_size": 56}),
    ("Siglip2ImageProcessor", {}),
    ("Siglip2ImageProcessor", {"patch_size": 7, "max_num_patches": 50}),
]


@pytest.mark.parametrize(("name", "options"), CASES)
def test_images_of_transformers(name, options):
    theirs = pil_class(name)(**options)
    ours = image_processor(theirs.to_dict())
    for size in SIZES:
        x = image(size)
        expected = theirs([PIL.Image.fromarray(x)], return_tensors="np")
        compare(ours([x]), expected)
        compare(ours([PIL.Image.fromarray(x)]), expected)
    assert len(ours([image(SIZES[0]), image(SIZES[0], seed=1)])["pixel_values"]) == 2


@pytest.mark.parametrize("name", ["CLIPImageProcessor", "ViTImageProcessor"])
@pytest.mark.parametrize("mode", ["RGBA", "LA", "L", "P", "1", "CMYK", "transparent palette"])
def test_files_of_every_mode(name, mode, tmp_path):
    if mode == "transparent palette" and name == "CLIPImageProcessor":
        pytest.skip("version 5 turns every pixel of the transparent colour white, 4 does not")
    path = tmp_path / ("x.tif" if mode == "CMYK" else "x.png")
    x = PIL.Image.fromarray(image((50, 70), 4), "RGBA")
    if mode == "transparent palette":
        x.convert("P").save(path, transparency=3)
    else:
        x.convert(mode).save(path)
    theirs = pil_class(name)()
    compare(image_processor(theirs.to_dict())([path]), theirs([str(path)], return_tensors="np"))


def test_a_turned_photograph(tmp_path):
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    PIL.Image.fromarray(image((30, 80))).save(tmp_path / "x.png", exif=exif)
    theirs = pil_class("CLIPImageProcessor")()
    expected = theirs([str(tmp_path / "x.png")], return_tensors="np")
    compare(image_processor(theirs.to_dict())([tmp_path / "x.png"]), expected)


@pytest.mark.parametrize("options", [{}, {"offset": False, "rescale_factor": 1 / 255}])
@pytest.mark.parametrize("name", ["VideoMAEImageProcessor", "VivitImageProcessor"])
def test_videos_of_transformers(name, options):
    if name == "VideoMAEImageProcessor":
        options = {"size": 48, "crop_size": 40} if options else {}
    theirs = pil_class(name)(**options)
    videos = [[image((40, 60), seed=t + 9 * i) for t in range(3)] for i in range(2)]
    expected = theirs([[PIL.Image.fromarray(f) for f in v] for v in videos], return_tensors="np")
    ours = image_processor(theirs.to_dict())
    compare(ours([np.stack(video) for video in videos]), expected)
    compare(ours(videos), expected)


@pytest.mark.parametrize(
    "config",
    [
        {"input_size": [3, 224, 224], "interpolation": "bicubic", "crop_pct": 0.9},
        {
            "input_size": [3, 33, 48],
            "interpolation": "bilinear",
            "crop_pct": 1.0,
            "mean": [0, 0, 0],
        },
        {"input_size": [3, 64, 64], "crop_mode": "squash", "crop_pct": 0.8, "std": [0.5, 0.5, 0.5]},
        {"input_size": [3, 65, 65], "crop_mode": "border", "mean": [0.2, 0.5, 0.7]},
    ],
)
def test_timm(config):
    data = pytest.importorskip("timm.data")
    resolved = data.resolve_data_config(pretrained_cfg=config)
    theirs = data.create_transform(**resolved, is_training=False)
    ours = image_processor({"architecture": "any", "pretrained_cfg": config})
    for size in SIZES:
        x = PIL.Image.fromarray(image(size))
        compare(ours([x]), {"pixel_values": theirs(x)[None].numpy()})


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L"])
@pytest.mark.parametrize(
    "config",
    [
        {"size": 64, "interpolation": "bilinear"},
        {"size": [40, 57], "mean": [0.5, 0.5, 0.5]},
        {"size": 65, "resize_mode": "longest", "fill_color": 90},
        {"size": [33, 64], "resize_mode": "squash", "std": [0.2, 0.3, 0.4]},
    ],
)
def test_open_clip(config, mode):
    transform = pytest.importorskip("open_clip.transform")
    theirs = transform.image_transform_v2(transform.PreprocessCfg(**config), is_train=False)
    ours = image_processor({"model_cfg": {}, "preprocess_cfg": config})
    for size in SIZES[1:]:
        x = PIL.Image.fromarray(image(size, 4), "RGBA").convert(mode)
        if config.get("resize_mode") == "longest" and min(size) == 1:
            continue
        compare(ours([x]), {"pixel_values": theirs(x)[None].numpy()})


@pytest.mark.parametrize("resize", [232, 256])
def test_torchvision(resize):
    presets = pytest.importorskip("torchvision.transforms._presets")
    theirs = presets.ImageClassification(crop_size=224, resize_size=resize)
    ours = image_processor({"resize_size": resize, "crop_size": 224})
    for size in SIZES:
        x = PIL.Image.fromarray(image(size))
        compare(ours([x]), {"pixel_values": theirs(x)[None].numpy()})


def test_files_of_torchvision_have_their_presets():
    """The names of its files of weights, each with the preset that goes with it."""
    models = pytest.importorskip("torchvision.models")
    names = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
    names += ("wide_resnet50_2", "wide_resnet101_2", "mobilenet_v2")
    found = {}
    for name in names:
        for weights in models.get_model_weights(name):
            preset = weights.transforms()
            assert preset.interpolation.value == "bilinear"
            sizes = {"resize_size": preset.resize_size[0], "crop_size": preset.crop_size[0]}
            found[weights.url.rpartition("/")[2].removesuffix(".pth")] = sizes
    assert found == TORCHVISION


def test_a_file_without_a_class_is_of_the_one_that_transformers_takes():
    auto = pytest.importorskip("transformers.models.auto.image_processing_auto")
    for kind, ours in OF_TYPES.items():
        whole = kind.removesuffix("_vision_model").removesuffix("_with_registers")
        theirs = auto.IMAGE_PROCESSOR_MAPPING_NAMES[whole]
        assert plain(theirs.get("pil") or theirs["torchvision"]) == ours, kind


def test_how_far_the_torchvision_backend_is():
    """Resizing tensors instead of Pillow images: up to two of 255 grey levels, mean under 0.02."""
    pytest.importorskip("torchvision")
    if not hasattr(transformers, "CLIPImageProcessorPil"):
        pytest.skip("before version 5 this class uses Pillow")
    theirs = transformers.CLIPImageProcessor()
    ours = image_processor(theirs.to_dict())
    for size in SIZES:
        x = image(size)
        expected = theirs([PIL.Image.fromarray(x)], return_tensors="np")["pixel_values"]
        levels = np.abs(ours([x])["pixel_values"] - expected) * 255 * np.float32(0.2758)
        assert levels.max() < 2.2
        assert levels.mean() < 0.05

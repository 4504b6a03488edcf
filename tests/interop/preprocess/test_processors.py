"""Which file says how pictures become inputs: the same one for prediction and for training."""

import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import PIL.Image
import pytest
from flax import linen as nn

from mmjax.data.readers.transforms import decode_image, read_image
from mmjax.errors import UserError
from mmjax.interop.architecture import Checkpoint, Part
from mmjax.interop.encoding.encoder import preparation
from mmjax.interop.preprocess import processors
from mmjax.interop.preprocess.images import pixels
from mmjax.interop.weights import manifest

NORMAL = {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.3, 0.4, 0.5]}
PLAIN = NORMAL | {"size": 8, "resample": 2}
TIMM = {
    "architecture": "resnet18",
    "pretrained_cfg": {
        "input_size": [3, 8, 8],
        "test_input_size": [3, 12, 12],
        "fixed_input_size": False,
        "crop_pct": 0.9,
        "test_crop_pct": 1.0,
        "mean": NORMAL["image_mean"],
        "std": NORMAL["image_std"],
    },
}
OPEN_CLIP = {
    "model_cfg": {"vision_cfg": {"image_size": 8}},
    "preprocess_cfg": {"mean": NORMAL["image_mean"], "std": NORMAL["image_std"]},
}
SOUND = {"feature_extractor_type": "ASTFeatureExtractor", "mean": 1.0}
OTHER = {"image_processor_type": "ViTImageProcessor", "size": 16}
# What lies in a folder, and architecture and kind of its model: each says NORMAL, and 8 x 8 pixels.
SAID = {
    "a class": {"preprocessor_config.json": PLAIN | {"image_processor_type": "ViTImageProcessor"}},
    "an old class": (
        {"preprocessor_config.json": PLAIN | {"feature_extractor_type": "ViTFeatureExtractor"}}
    ),
    "no class": {"preprocessor_config.json": PLAIN, "config.json": {"model_type": "vit"}},
    "nested": {
        "processor_config.json": {
            "processor_class": "CLIPProcessor",
            "image_processor": PLAIN | {"image_processor_type": "ViTImageProcessorFast"},
        }
    },
    "timm": {"config.json": TIMM},
    "timm of transformers": {
        "config.json": TIMM | {"model_type": "timm_wrapper"},
        "preprocessor_config.json": {"image_processor_type": "TimmWrapperImageProcessor"},
    },
    "open_clip": {"open_clip_config.json": OPEN_CLIP},
    "open_clip before transformers": {
        "open_clip_config.json": OPEN_CLIP,
        "preprocessor_config.json": OTHER,
    },
    "a processor of words alone": {
        "processor_config.json": {"processor_class": "CLIPProcessor"},
        "open_clip_config.json": OPEN_CLIP,
    },
    "torchvision's arguments": {
        "preprocessor_config.json": {
            "resize_size": 9,
            "crop_size": 8,
            "mean": NORMAL["image_mean"],
            "std": NORMAL["image_std"],
        }
    },
}
VIDEO = PLAIN | {"crop_size": 8, "video_processor_type": "VideoMAEVideoProcessor"}
CLIPS = {
    "video": {"video_preprocessor_config.json": VIDEO},
    "nested beside one of pictures": {
        "processor_config.json": {"image_processor": OTHER, "video_processor": VIDEO}
    },
    "beside one of pictures": {
        "video_preprocessor_config.json": VIDEO,
        "preprocessor_config.json": OTHER,
    },
    "no class": {
        "preprocessor_config.json": PLAIN | {"crop_size": 8},
        "config.json": {"model_type": "videomae"},
    },
}


def checkpoint(folder, files):
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))
    config = files.get("config.json", files.get("open_clip_config.json", {}))
    return Checkpoint(folder, config, {})


def architecture(name):
    return "open_clip" if name.startswith("open_clip") else ""


def trained(found, kind, value, name=""):
    """What an encoder of a recipe makes of raw pixels."""
    preset = {"mean": (0.5,) * 3, "std": (7.0,) * 3}  # of a architecture, where no file says it
    part = Part(nn.Module(), options=preset)
    inputs, _ = preparation(part, kind, found, {}, name)(jnp.asarray(value), None)
    return np.asarray(inputs["pixel_values"])


@pytest.mark.parametrize("name", sorted(SAID))
def test_prediction_and_training_normalise_alike(name, tmp_path):
    """By any layout of files, and by what a workdir keeps of them."""
    found = checkpoint(tmp_path, SAID[name])
    manifest.write(found, tmp_path / "kept")
    flat = np.broadcast_to(np.uint8([10, 100, 200]), (1, 8, 8, 3))
    expected = (flat / 255 - NORMAL["image_mean"]) / NORMAL["image_std"]
    for there in (found, manifest.read(tmp_path / "kept")):
        read = processors.reader(there, architecture(name), "image")([flat[0]])["pixel_values"]
        assert read.shape == (1, 3, 8, 8)
        np.testing.assert_allclose(np.moveaxis(read, 1, 3), expected, atol=1e-5)
        ours = trained(there, "image", flat, architecture(name))
        np.testing.assert_allclose(np.moveaxis(ours, 1, 3), expected, atol=1e-5)


@pytest.mark.parametrize("name", sorted(CLIPS))
def test_clips_alike(name, tmp_path):
    found = checkpoint(tmp_path, CLIPS[name])
    flat = np.broadcast_to(np.uint8([10, 100, 200]), (1, 2, 8, 8, 3))
    read = processors.reader(found, "videomae", "video")([flat[0]])["pixel_values"]
    expected = (flat / 255 - NORMAL["image_mean"]) / NORMAL["image_std"]
    np.testing.assert_allclose(np.moveaxis(read, 2, 4), expected, atol=1e-5)
    np.testing.assert_allclose(
        np.moveaxis(trained(found, "video", flat), 2, 4), expected, atol=1e-5
    )


def test_a_lone_file_has_what_lies_beside_it(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(TIMM))
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"")
    found = Checkpoint(file, TIMM, {})
    manifest.write(found, tmp_path / "kept")
    kept = manifest.read(tmp_path / "kept")
    assert processors.of_images(found) == processors.of_images(kept) == TIMM


@pytest.mark.parametrize(
    ("files", "where", "message"),
    [
        ({}, "", "no preprocessor_config.json, so nothing says how.*: add it, or pass"),
        ({}, "resnet", '"resize_size": 256.*with 232, or of timm\'s its config.json'),
        ({}, "mobilenet", '"resize_size": 256.*with 232'),
        ({"open_clip_config.json": {"quick_gelu": True}}, "open_clip", "nothing says how"),
        ({"preprocessor_config.json": PLAIN}, "", "names no class, and None, the model_type"),
        (
            {"preprocessor_config.json": PLAIN, "config.json": {"model_type": "bert"}},
            "",
            "names no class, and 'bert'.*add its image_processor_type",
        ),
        ({"preprocessor_config.json": SOUND}, "", "unknown image processor"),
        (
            {"preprocessor_config.json": {"image_processor_type": "BeitImageProcessor"}},
            "",
            "unknown image processor 'BeitImageProcessor'",
        ),
        ({"config.json": {"pretrained_cfg": {"input_size": [1, 8, 8]}}}, "resnet", "input_size"),
        (
            {"config.json": TIMM | {"model_args": {"img_size": 16}}},
            "timm_vit",
            "img_size=16 in model_args, but input_size",
        ),
        ({"config.json": {"pretrained_cfg": {"interpolation": "random"}}}, "resnet", "random"),
    ],
)
def test_what_no_file_says_is_refused_in_a_line(files, where, message, tmp_path):
    with pytest.raises(UserError, match=message) as caught:
        processors.reader(checkpoint(tmp_path, files), where, "image")
    assert "\n" not in str(caught.value)


def test_torchvisions_files_are_known_by_their_names():
    """As two weights of one network differ in nothing but numbers."""
    first = Checkpoint(Path("weights/resnet50-0676ba61.pth"), {}, {})
    second = Checkpoint(Path("weights/resnet50-11ad3fa6.pth"), {}, {})
    assert processors.of_images(first, "resnet")["resize_size"] == 256
    assert processors.of_images(second, "resnet")["resize_size"] == 232
    own = Checkpoint(Path("weights/resnet50.pth"), {}, {})
    with pytest.raises(UserError, match="nothing says how"):
        processors.reader(own, "resnet", "image")


@pytest.mark.parametrize("turn", range(1, 9))
def test_an_open_picture_is_its_file_however_the_camera_was_held(turn, tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    exif = PIL.Image.Exif()
    exif[0x0112] = turn
    path = tmp_path / "turned.png"
    PIL.Image.fromarray(noise).save(path, exif=exif)
    seen = np.asarray(pixels.read(path))
    assert seen.shape == ((5, 7, 3) if turn < 5 else (7, 5, 3))
    assert (turn == 1) == (seen.shape == noise.shape and (seen == noise).all())
    small = read_image(path, 4)
    np.testing.assert_array_equal(decode_image(path.read_bytes(), 4), small)
    with PIL.Image.open(path) as image:
        np.testing.assert_array_equal(np.asarray(pixels.read(image)), seen)
        np.testing.assert_array_equal(read_image(image, 4), small)
    np.testing.assert_array_equal(read_image(seen, 4), small)

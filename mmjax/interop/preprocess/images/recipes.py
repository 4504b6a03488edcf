"""What the files of a checkpoint say about images: configuration -> the steps to take."""

import math
from collections.abc import Mapping
from typing import Any

from mmjax.errors import UserError, decoding
from mmjax.interop.preprocess.images import image_classes, pixels
from mmjax.interop.preprocess.images.recipe_values import (
    CLIP,
    IMAGENET,
    RESAMPLE,
    Recipe,
    inner,
    number_of,
    pixels_of,
    sides_of,
    three_of,
)
from mmjax.interop.preprocess.options import TIMM_READ, TIMM_SILENT, refuse_unknown
from mmjax.nn.layers.options import choose

NESTED = ("image_processor", "video_processor")  # of a processor_config.json
TIMM = "TimmWrapperImageProcessor"  # what transformers calls timm's own transform


@decoding("image processor: its settings cannot be understood", "fetch the file anew")
def recipe(config: Mapping[str, Any]) -> Recipe:
    """Reads any of the configurations that `images.image_processor` lists.

    Raises:
        UserError: an unknown class, an unknown key that may change the numbers, or a value out of
            place.
    """
    for nested in NESTED:
        if isinstance(config.get(nested), Mapping):
            return recipe(config[nested])
    if image_classes.class_of(config) not in (None, TIMM):
        return image_classes.of_class(config)
    if isinstance(config.get("preprocess_cfg"), Mapping):
        return _open_clip(config)
    if isinstance(config.get("pretrained_cfg"), Mapping):
        return _timm(config["pretrained_cfg"])
    if "input_size" in config:
        return _timm(config)
    if "resize_size" in config:
        return _torchvision(config)
    raise UserError(
        "image processor: the configuration has none of image_processor_type,"
        " feature_extractor_type, preprocess_cfg, pretrained_cfg, input_size, resize_size; pass"
        " what preprocessor_config.json, open_clip_config.json or timm's config.json holds"
    )


def _open_clip(config: Mapping[str, Any]) -> Recipe:
    """open_clip_config.json; the size is that of the image backbone, as in open_clip."""
    name, given = "open_clip preprocess_cfg", dict(config["preprocess_cfg"])
    known = {"size", "mode", "mean", "std", "interpolation", "resize_mode", "fill_color"}
    if unknown := sorted(set(given) - known):
        raise UserError(f"{name}: unknown keys {', '.join(unknown)} may change the numbers")
    values = {key: value for key, value in given.items() if value is not None}
    backbone = inner(inner(config, "model_cfg", name), "vision_cfg", name)
    height, width = sides_of(backbone.get("image_size") or values.get("size", 224), name, "size")
    if values.get("mode", "RGB") != "RGB":
        raise UserError(f"{name}: mode must be RGB, not {values['mode']!r}")
    way = values.get("interpolation", "bicubic")
    resample = choose({"bicubic": 3, "bilinear": 2, "random": 3}, str(way), f"{name} interpolation")
    fill = values.get("fill_color", 0)
    if not isinstance(fill, int) or not 0 <= fill <= 255:
        raise UserError(f"{name}: fill_color must be a number from 0 to 255, not {fill!r}")
    shortest = pixels.to_shorter_side(height, resample)
    if height != width:  # open_clip does not pass the interpolation on here
        shortest = pixels.to_fit(height, width, 3, inside=False)
    changes = {
        "shortest": [shortest, pixels.centre_crop(height, width, nearest=True)],
        "longest": [
            pixels.to_fit(height, width, resample, inside=True),
            pixels.centre_crop(height, width, nearest=True, fill=fill),
        ],
        "squash": [pixels.to_size(height, width, resample)],
    }
    mean = three_of(values.get("mean") or CLIP["image_mean"], name, "mean")
    std = three_of(values.get("std") or CLIP["image_std"], name, "std", positive=True)
    chosen = choose(changes, str(values.get("resize_mode", "shortest")), f"{name} resize_mode")
    return Recipe(chosen, True, 1 / 255, 0.0, mean, std)


def _timm(config: Mapping[str, Any]) -> Recipe:
    """A pretrained_cfg of timm, of which its evaluation reads six entries and no more."""
    name = "timm pretrained_cfg"
    refuse_unknown(config, TIMM_READ, TIMM_SILENT, name)
    size = config.get("input_size") or (3, 224, 224)
    if not isinstance(size, list | tuple) or len(size) != 3 or size[0] != 3:
        raise UserError(f"{name}: input_size must be [3, height, width], not {size!r}")
    height, width = sides_of(size[1:], name, "input_size")
    way = str(config.get("interpolation") or "bicubic")
    resample = choose(RESAMPLE, way, f"{name} interpolation")
    share = number_of(config.get("crop_pct") or 0.875, name, "crop_pct")
    large = math.floor(height / share), math.floor(width / share)
    mean = three_of(config.get("mean") or IMAGENET["image_mean"], name, "mean")
    std = three_of(config.get("std") or IMAGENET["image_std"], name, "std", positive=True)
    cut = pixels.centre_crop(height, width, nearest=True)
    if large[0] == large[1]:
        centre = [pixels.to_shorter_side(large[0], resample), cut]
    else:
        centre = [pixels.to_fit(*large, resample, inside=False), cut]
    fill = tuple(round(255 * value) for value in mean)
    padded = pixels.centre_crop(height, width, nearest=True, fill=fill)
    changes = {
        "center": centre,
        "squash": [pixels.to_size(*large, resample), cut],
        "border": [pixels.to_fit(*large, resample, inside=True), padded],
    }
    chosen = choose(changes, str(config.get("crop_mode") or "center"), f"{name} crop_mode")
    return Recipe(chosen, False, 1 / 255, 0.0, mean, std)


def _torchvision(config: Mapping[str, Any]) -> Recipe:
    """The arguments of torchvision's preset of evaluation, `ImageClassification`."""
    name = "torchvision's transform"
    known = {"resize_size", "crop_size", "mean", "std", "interpolation"}
    if unknown := sorted(set(config) - known):
        raise UserError(f"{name}: unknown keys {', '.join(unknown)} may change the numbers")
    way = str(config.get("interpolation", "bilinear"))
    resample = choose(RESAMPLE, way, f"{name} interpolation")
    crop = pixels_of(config.get("crop_size", 224), name, "crop_size")
    changes = [
        pixels.to_shorter_side(pixels_of(config["resize_size"], name, "resize_size"), resample),
        pixels.centre_crop(crop, crop, nearest=True),
    ]
    mean = three_of(config.get("mean", IMAGENET["image_mean"]), name, "mean")
    std = three_of(config.get("std", IMAGENET["image_std"]), name, "std", positive=True)
    return Recipe(changes, False, 1 / 255, 0.0, mean, std)

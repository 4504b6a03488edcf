"""What preprocessor files of transformers say about images: a class, what differs from its own."""

from collections.abc import Mapping
from typing import Any

from mmjax.errors import UserError
from mmjax.interop.preprocess.images import pixels
from mmjax.interop.preprocess.images.recipe_values import (
    CLIP,
    HALF,
    Recipe,
    number_of,
    pixels_of,
    resample_of,
    sides_of,
    three_of,
)
from mmjax.nn.layers.options import choose

# What each class of transformers takes for what its file leaves out. `square`: what a size of one
# number means, both sides or the shorter.
_COMMON = {
    "do_resize": True,
    "do_center_crop": False,
    "crop_size": None,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "offset": False,
    "do_normalize": True,
    "default_to_square": False,
}
# Of ConvNeXt's rule; from SQUASHED pixels on a picture is resized to a square and not cropped.
_CROP_SHARE, SQUASHED = 224 / 256, 384
_CROPPED = {"do_center_crop": True, "crop_size": 224, "size": {"shortest_edge": 224}}
_VIDEO = _COMMON | _CROPPED | HALF | {"resample": 2, "crop_size": 224, "video": True}
_SQUARE = {"size": {"height": 224, "width": 224}, "default_to_square": True}
_MOBILE = _COMMON | HALF | {"resample": 2, "size": 256, "do_center_crop": True, "crop_size": 224}
CLASSES: Mapping[str, Mapping[str, Any]] = {
    "BitImageProcessor": _COMMON | _CROPPED | CLIP | {"resample": 3},
    "CLIPImageProcessor": _COMMON | _CROPPED | CLIP | {"resample": 3},
    "ConvNextImageProcessor": _COMMON
    | HALF
    | {"size": {"shortest_edge": 384}, "resample": 3, "crop_pct": _CROP_SHARE},
    "DeiTImageProcessor": _COMMON
    | HALF
    | {"size": 256, "default_to_square": True, "do_center_crop": True, "crop_size": 224}
    | {"resample": 3},
    "EfficientNetImageProcessor": _COMMON
    | HALF
    | {"size": {"height": 346, "width": 346}, "crop_size": 289, "default_to_square": True}
    | {"resample": 3, "include_top": True, "rescale_offset": False},
    "MobileNetV1ImageProcessor": _MOBILE,
    "MobileNetV2ImageProcessor": _MOBILE,
    "Siglip2ImageProcessor": _COMMON
    | HALF
    | {"size": None, "resample": 2, "patch_size": 16, "max_num_patches": 256},
    "SiglipImageProcessor": _COMMON | HALF | _SQUARE | {"resample": 3, "default_to_square": False},
    "ViTImageProcessor": _COMMON | HALF | _SQUARE | {"resample": 2},
    "VideoMAEImageProcessor": _VIDEO,
    "VivitImageProcessor": _VIDEO
    | {"size": {"shortest_edge": 256}, "rescale_factor": 1 / 127.5, "offset": True},
}
# Keys that say nothing about the numbers. do_convert_rgb neither: what is not RGB is converted
# always, since these processors fail otherwise.
_SILENT = {
    *("image_processor_type", "feature_extractor_type", "video_processor_type", "processor_class"),
    *("_valid_processor_keys", "data_format", "disable_grouping", "do_convert_rgb", "device"),
    *("return_metadata", "model_input_names", "return_tensors", "do_reduce_labels"),
}
_NAMES = ("image_processor_type", "video_processor_type", "feature_extractor_type")
# The class where a file names none, by the model's type in config.json, as in transformers.
OF_TYPES: Mapping[str, str] = {
    **dict.fromkeys(("clip", "clip_vision_model"), "CLIPImageProcessor"),
    **dict.fromkeys(("convnext", "convnextv2", "regnet", "resnet"), "ConvNextImageProcessor"),
    "deit": "DeiTImageProcessor",
    **dict.fromkeys(("bit", "dinov2", "dinov2_with_registers"), "BitImageProcessor"),
    "efficientnet": "EfficientNetImageProcessor",
    "mobilenet_v1": "MobileNetV1ImageProcessor",
    "mobilenet_v2": "MobileNetV2ImageProcessor",
    **dict.fromkeys(("siglip", "siglip_vision_model"), "SiglipImageProcessor"),
    **dict.fromkeys(("siglip2", "siglip2_vision_model"), "Siglip2ImageProcessor"),
    **dict.fromkeys(("swin", "swinv2", "vit", "vit_mae", "vit_msn"), "ViTImageProcessor"),
    "videomae": "VideoMAEImageProcessor",
    "vivit": "VivitImageProcessor",
}
# What a file is known by that describes pictures and names no class.
MARKS = (
    *("image_mean", "image_std", "resample", "size", "crop_size", "crop_pct", "max_num_patches"),
    *("do_resize", "do_center_crop", "do_rescale", "do_normalize"),
)


def class_of(config: Mapping[str, Any]) -> str | None:
    """The class that a file names, whatever it is of; None if it names none."""
    return next((config[name] for name in _NAMES if isinstance(config.get(name), str)), None)


def plain(name: str) -> str:
    """The name of the class as it is now, without its backend.

    "ViTFeatureExtractor" -> "ViTImageProcessor", "VideoMAEVideoProcessor" ->
    "VideoMAEImageProcessor", "BitImageProcessorFast" -> "BitImageProcessor".
    """
    name = name.removesuffix("Fast").removesuffix("Pil")
    for old in ("FeatureExtractor", "VideoProcessor"):
        name = name.removesuffix(old) + "ImageProcessor" if name.endswith(old) else name
    return name


def of_class(config: Mapping[str, Any]) -> Recipe:
    """A file of a class of transformers.

    Raises:
        UserError: an unknown class, an unknown key that may change the numbers, or a value out of
            place.
    """
    name = str(class_of(config))
    defaults = choose(CLASSES, plain(name), "image processor")
    given = {key: value for key, value in config.items() if value is not None}
    for key, value in given.items():
        harmless = key in _SILENT or (value is False and key.startswith("do_"))
        if not harmless and key not in defaults:
            raise UserError(
                f"{name}: unknown key {key!r} with the value {value!r} may change the numbers;"
                " known are " + ", ".join(sorted(set(defaults) - {"video"}))
            )
        if key.startswith("do_") and not isinstance(value, bool):
            raise UserError(f"{name}: {key} must be true or false, not {value!r}")
    if given.get("data_format", "channels_first") != "channels_first":
        raise UserError(f"{name}: data_format must be channels_first, not {config['data_format']}")
    values = dict(defaults) | given
    resample, patches, changes = resample_of(values["resample"], name), None, []
    if "patch_size" in values:
        patches = (
            pixels_of(values["patch_size"], name, "patch_size"),
            pixels_of(values["max_num_patches"], name, "max_num_patches"),
        )
    if values["do_resize"]:
        if patches:
            changes.append(pixels.to_patches(*patches, resample))
        elif "crop_pct" in values:
            changes += _cropped(values, resample, name)
        else:
            changes.append(_resizing(values["size"], values["default_to_square"], resample, name))
    if values["do_center_crop"]:
        sides = sides_of(values["crop_size"], name, "crop_size")
        changes.append(pixels.centre_crop(*sides))
    if values["offset"] and not values["do_rescale"]:
        raise UserError(f"{name}: offset needs do_rescale")
    mean, std = _statistics(values, name)
    return Recipe(
        changes=changes,
        rgb_last=False,
        scale=number_of(values["rescale_factor"], name, "rescale_factor")
        if values["do_rescale"]
        else None,
        offset=-1.0 if values["do_rescale"] and _shifted(values) else 0.0,
        mean=mean,
        std=std,
        video=values.get("video", False),
        patches=patches,
    )


def _shifted(values: Mapping[str, Any]) -> bool:
    return bool(values["offset"] or values.get("rescale_offset"))


def _statistics(values: Mapping[str, Any], name: str) -> tuple[Any, Any]:
    """Means and deviations; EfficientNet's classifiers are divided by the deviations once more."""
    mean = three_of(values["image_mean"], name, "image_mean")
    std = three_of(values["image_std"], name, "image_std", positive=True)
    again = values.get("include_top", False)
    if values["do_normalize"]:
        return mean, [s * s for s in std] if again else std
    return ([0.0] * 3, std) if again else (None, None)


def _cropped(values: Mapping[str, Any], resample: int, name: str) -> list[pixels.Change]:
    """ConvNeXt's rule: a share of a larger picture below SQUASHED pixels, else a square."""
    size = values["size"]
    if isinstance(size, Mapping) and set(size) == {"shortest_edge"}:
        size = size["shortest_edge"]
    side = pixels_of(size, name, "size")
    if side >= SQUASHED:
        return [pixels.to_size(side, side, resample)]
    large = int(side / number_of(values["crop_pct"], name, "crop_pct"))
    return [pixels.to_shorter_side(large, resample), pixels.centre_crop(side, side)]


def _resizing(size: Any, square: Any, resample: int, name: str) -> pixels.Change:
    if isinstance(size, int) and not square:
        size = {"shortest_edge": size}
    if isinstance(size, Mapping) and set(size) == {"shortest_edge"}:
        side = pixels_of(size["shortest_edge"], name, "size")
        return pixels.to_shorter_side(side, resample)
    return pixels.to_size(*sides_of(size, name, "size"), resample)

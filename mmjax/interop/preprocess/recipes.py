"""What the files of a checkpoint say about images: configuration -> the steps to take."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from mmjax.interop.preprocess import pixels
from mmjax.nn.options import choose
from mmjax.types import UserError

_CLIP = {
    "image_mean": (0.48145466, 0.4578275, 0.40821073),
    "image_std": (0.26862954, 0.26130258, 0.27577711),
}
_HALF = {"image_mean": (0.5, 0.5, 0.5), "image_std": (0.5, 0.5, 0.5)}
_IMAGENET = {"image_mean": (0.485, 0.456, 0.406), "image_std": (0.229, 0.224, 0.225)}
_RESAMPLE = {"nearest": 0, "lanczos": 1, "bilinear": 2, "bicubic": 3, "box": 4, "hamming": 5}

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
_CROPPED = {"do_center_crop": True, "crop_size": 224, "size": {"shortest_edge": 224}}
_VIDEO = _COMMON | _CROPPED | _HALF | {"resample": 2, "crop_size": 224, "video": True}
_SQUARE = {"size": {"height": 224, "width": 224}, "default_to_square": True}
CLASSES: Mapping[str, Mapping[str, Any]] = {
    "BitImageProcessor": _COMMON | _CROPPED | _CLIP | {"resample": 3},
    "CLIPImageProcessor": _COMMON | _CROPPED | _CLIP | {"resample": 3},
    "DeiTImageProcessor": _COMMON
    | _HALF
    | {"size": 256, "default_to_square": True, "do_center_crop": True, "crop_size": 224}
    | {"resample": 3},
    "Siglip2ImageProcessor": _COMMON
    | _HALF
    | {"size": None, "resample": 2, "patch_size": 16, "max_num_patches": 256},
    "SiglipImageProcessor": _COMMON | _HALF | _SQUARE | {"resample": 3, "default_to_square": False},
    "ViTImageProcessor": _COMMON | _HALF | _SQUARE | {"resample": 2},
    "VideoMAEImageProcessor": _VIDEO,
    "VivitImageProcessor": _VIDEO
    | {"size": {"shortest_edge": 256}, "rescale_factor": 1 / 127.5, "offset": True},
}
# Keys that say nothing about the numbers. do_convert_rgb neither: what is not RGB is converted
# always, since these processors fail otherwise.
_SILENT = {
    *("image_processor_type", "feature_extractor_type", "video_processor_type", "processor_class"),
    *("_valid_processor_keys", "data_format", "disable_grouping", "do_convert_rgb", "device"),
    *("return_metadata", "model_input_names", "return_tensors"),
}
_NAMES = ("image_processor_type", "video_processor_type", "feature_extractor_type")


class Recipe(NamedTuple):
    """The steps from one image to numbers.

    changes: resizing and cropping, in order.
    rgb_last: whether the image keeps its mode (palette, transparency) until these are done.
    scale, offset: 0..255 -> value * scale + offset. None: 0..255 stays.
    mean, std: subtracted and divided by then, one for each channel. None: neither.
    video: an input is a sequence of frames.
    patches: (side of a patch in pixels, their most) where an image becomes a list of patches.
    """

    changes: Sequence[pixels.Change]
    rgb_last: bool
    scale: float | None
    offset: float
    mean: Sequence[float] | None
    std: Sequence[float] | None
    video: bool = False
    patches: tuple[int, int] | None = None


def recipe(config: Mapping[str, Any]) -> Recipe:
    """Reads any of the configurations that `images.image_processor` lists.

    Raises:
        UserError: an unknown class, an unknown key that may change the numbers, or a value out of
            place.
    """
    for nested in ("image_processor", "video_processor"):
        if isinstance(config.get(nested), Mapping):
            return recipe(config[nested])
    if any(isinstance(config.get(name), str) for name in _NAMES):
        return _transformers(config)
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


def _transformers(config: Mapping[str, Any]) -> Recipe:
    name = next(config[name] for name in _NAMES if isinstance(config.get(name), str))
    plain = name.removesuffix("Fast").removesuffix("Pil")
    for old in ("FeatureExtractor", "VideoProcessor"):
        plain = plain.removesuffix(old) + "ImageProcessor" if plain.endswith(old) else plain
    defaults = choose(CLASSES, plain, "image processor")
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
    resample, patches, changes = _resample(values["resample"], name), None, []
    if "patch_size" in values:
        patches = (
            _pixels(values["patch_size"], name, "patch_size"),
            _pixels(values["max_num_patches"], name, "max_num_patches"),
        )
    if values["do_resize"]:
        if patches:
            changes.append(pixels.to_patches(*patches, resample))
        else:
            changes.append(_resizing(values["size"], values["default_to_square"], resample, name))
    if values["do_center_crop"]:
        sides = _sides(values["crop_size"], name, "crop_size")
        changes.append(pixels.centre_crop(*sides))
    if values["offset"] and not values["do_rescale"]:
        raise UserError(f"{name}: offset needs do_rescale")
    normalise = values["do_normalize"]
    return Recipe(
        changes=changes,
        rgb_last=False,
        scale=_number(values["rescale_factor"], name, "rescale_factor")
        if values["do_rescale"]
        else None,
        offset=-1.0 if values["offset"] else 0.0,
        mean=_three(values["image_mean"], name, "image_mean") if normalise else None,
        std=_three(values["image_std"], name, "image_std", positive=True) if normalise else None,
        video=values.get("video", False),
        patches=patches,
    )


def _open_clip(config: Mapping[str, Any]) -> Recipe:
    """open_clip_config.json; the size is that of the image tower, as in open_clip."""
    name, given = "open_clip preprocess_cfg", dict(config["preprocess_cfg"])
    known = {"size", "mode", "mean", "std", "interpolation", "resize_mode", "fill_color"}
    if unknown := sorted(set(given) - known):
        raise UserError(f"{name}: unknown keys {', '.join(unknown)} may change the numbers")
    values = {key: value for key, value in given.items() if value is not None}
    tower = _inner(_inner(config, "model_cfg", name), "vision_cfg", name)
    height, width = _sides(tower.get("image_size") or values.get("size", 224), name, "size")
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
    mean = _three(values.get("mean") or _CLIP["image_mean"], name, "mean")
    std = _three(values.get("std") or _CLIP["image_std"], name, "std", positive=True)
    chosen = choose(changes, str(values.get("resize_mode", "shortest")), f"{name} resize_mode")
    return Recipe(chosen, True, 1 / 255, 0.0, mean, std)


def _timm(config: Mapping[str, Any]) -> Recipe:
    """A pretrained_cfg of timm, of which its evaluation reads six entries and no more."""
    name = "timm pretrained_cfg"
    size = config.get("input_size") or (3, 224, 224)
    if not isinstance(size, list | tuple) or len(size) != 3 or size[0] != 3:
        raise UserError(f"{name}: input_size must be [3, height, width], not {size!r}")
    height, width = _sides(size[1:], name, "input_size")
    way = str(config.get("interpolation") or "bicubic")
    resample = choose(_RESAMPLE, way, f"{name} interpolation")
    share = _number(config.get("crop_pct") or 0.875, name, "crop_pct")
    large = math.floor(height / share), math.floor(width / share)
    mean = _three(config.get("mean") or _IMAGENET["image_mean"], name, "mean")
    std = _three(config.get("std") or _IMAGENET["image_std"], name, "std", positive=True)
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
    resample = choose(_RESAMPLE, way, f"{name} interpolation")
    crop = _pixels(config.get("crop_size", 224), name, "crop_size")
    changes = [
        pixels.to_shorter_side(_pixels(config["resize_size"], name, "resize_size"), resample),
        pixels.centre_crop(crop, crop, nearest=True),
    ]
    mean = _three(config.get("mean", _IMAGENET["image_mean"]), name, "mean")
    std = _three(config.get("std", _IMAGENET["image_std"]), name, "std", positive=True)
    return Recipe(changes, False, 1 / 255, 0.0, mean, std)


def _inner(config: Mapping[str, Any], key: str, name: str) -> Mapping[str, Any]:
    value = config.get(key) or {}
    if not isinstance(value, Mapping):
        raise UserError(f"{name}: {key} must be an object, not {value!r}")
    return value


def _resizing(size: Any, square: Any, resample: int, name: str) -> pixels.Change:
    if isinstance(size, int) and not square:
        size = {"shortest_edge": size}
    if isinstance(size, Mapping) and set(size) == {"shortest_edge"}:
        side = _pixels(size["shortest_edge"], name, "size")
        return pixels.to_shorter_side(side, resample)
    return pixels.to_size(*_sides(size, name, "size"), resample)


def _sides(size: Any, name: str, key: str) -> tuple[int, int]:
    """(height, width) from one number, [height, width] or {"height": …, "width": …}."""
    if isinstance(size, Mapping) and set(size) == {"height", "width"}:
        size = (size["height"], size["width"])
    if isinstance(size, list | tuple) and len(size) == 2:
        return _pixels(size[0], name, key), _pixels(size[1], name, key)
    side = _pixels(size, name, key)
    return side, side


def _pixels(value: Any, name: str, key: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 2**16:
        raise UserError(f"{name}: {key} cannot be {value!r}; it counts pixels or patches")
    return value


def _number(value: Any, name: str, key: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise UserError(f"{name}: {key} must be a positive number, not {value!r}")
    return float(value)


def _three(value: Any, name: str, key: str, *, positive: bool = False) -> Sequence[float]:
    values = list(value) if isinstance(value, list | tuple) else [value] * 3
    good = len(values) == 3 and all(
        isinstance(v, int | float) and math.isfinite(v) and (v > 0 or not positive) for v in values
    )
    if not good:
        kind = "positive numbers" if positive else "numbers"
        raise UserError(f"{name}: {key} must be three {kind} or one, not {value!r}")
    return [float(v) for v in values]


def _resample(value: Any, name: str) -> int:
    if isinstance(value, bool) or value not in _RESAMPLE.values():
        raise UserError(f"{name}: resample must be one of Pillow's filters 0 to 5, not {value!r}")
    return int(value)

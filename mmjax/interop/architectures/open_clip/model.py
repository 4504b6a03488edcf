"""open_clip (Ilharco et al. 2021, https://doi.org/10.5281/zenodo.5143773) and OpenAI's CLIP files.

A folder has open_clip_config.json beside the weights; OpenAI's .pt files need none.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from mmjax.backbones.dual.dual import DualEncoder, Given, Projected
from mmjax.backbones.vision.modified_resnet import ModifiedResNet
from mmjax.errors import UserError
from mmjax.interop.architecture import Architecture, Checkpoint, Part, Spec
from mmjax.interop.architectures.dual.dual import picture
from mmjax.interop.architectures.open_clip import openai as openai_clip
from mmjax.interop.architectures.open_clip.resnet import resnet_backbone
from mmjax.interop.architectures.open_clip.text import text_backbone
from mmjax.interop.architectures.open_clip.timm import TRUNK, timm_backbone
from mmjax.interop.architectures.open_clip.vit import vit_backbone
from mmjax.interop.architectures.settings import section
from mmjax.interop.architectures.vision.resnet import COUNTER, real_pictures
from mmjax.interop.weights.checkpoint import read_config_file
from mmjax.interop.weights.layout import Rules, prefixed, same

INPUTS = (Given("image", "vision", "pixel_values"), Given("text", "text", "input_ids"))
# open_clip's names of outputs, beside those of transformers' CLIP.
ALIASES = (
    ("image_features", "image_embeds"),
    ("text_features", "text_embeds"),
    ("logit_scale", "logit_scale"),
    ("logit_bias", "logit_bias"),
)
# What prepares pictures for a backbone, where it is not what all others have.
PREPARE = {ModifiedResNet: real_pictures}


def normalise(name: str) -> str:
    """A name as open_clip's class CLIP has it, without the "text." of CustomTextCLIP; "" for what
    is no parameter."""
    if name in openai_clip.MARKS:
        return ""
    name = name.removeprefix("text.")
    return "" if name == "attn_mask" or name.endswith(COUNTER) else name


def recognises(checkpoint: Checkpoint) -> bool:
    """By the tensors, since config.json beside them may be another library's."""
    names = {normalise(name) for name in checkpoint.weights}
    return "logit_scale" in names and any(
        name.startswith(("visual.conv1.", TRUNK)) for name in names
    )


def own_config(checkpoint: Checkpoint) -> Mapping[str, Any]:
    """Of a folder whose config.json is of another library; {} if there is none.

    Raises:
        UserError: it is no JSON table.
    """
    folder = checkpoint.path if checkpoint.path.is_dir() else checkpoint.path.parent
    file = folder / "open_clip_config.json"
    return read_config_file(file) if file.is_file() else {}


def config_of(checkpoint: Checkpoint, weights: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    """The model_cfg of open_clip_config.json, or what the tensors say.

    Raises:
        UserError: neither of them says which activation the model has.
    """
    beside = own_config(checkpoint) if "model_cfg" not in checkpoint.config else {}
    config = beside or checkpoint.config
    given = section(config, "model_cfg", where) or config
    if "vision_cfg" in given:
        return given
    openai = openai_clip.is_openai(checkpoint.weights)
    quick = given.get("quick_gelu", True if openai else None)
    if not isinstance(quick, bool):
        raise UserError(
            f"{where}: nothing says whether the activation is quick_gelu: put the model's"
            " open_clip_config.json beside it, or one that holds"
            ' {"quick_gelu": true} (OpenAI\'s weights) or {"quick_gelu": false}'
        )
    return openai_clip.model_cfg(weights, where, quick_gelu=quick)


def image_backbone(
    config: Mapping[str, Any],
    weights: Mapping[str, Any],
    width: int,
    quick: bool,
    dtype: Any,
    where: str,
) -> tuple[Projected, Rules]:
    """The image backbone, `width` that of its features, and its layout.

    As in open_clip a name of timm counts before the sizes, and a list of layers is a ResNet.
    """
    if config.get("timm_model_name"):
        return timm_backbone(config, weights, width, dtype, where)
    if isinstance(config.get("layers"), list):
        return resnet_backbone(config, width, dtype, where)
    return vit_backbone(config, width, quick, dtype, where)


def build(checkpoint: Checkpoint, dtype: Any) -> Architecture:
    """CLIP or CustomTextCLIP of open_clip, with a ViT, a ResNet or timm's ViT (SigLIP)."""
    where = str(checkpoint.path)
    weights = {normalise(name): tensor for name, tensor in checkpoint.weights.items()}
    config = config_of(checkpoint, weights, where)
    if "multimodal_cfg" in config:
        raise UserError(f"{where}: CoCa: mmjax builds the two backbones of open_clip's CLIP only")
    width, quick = config.get("embed_dim"), config.get("quick_gelu", False)
    if type(width) is not int or not isinstance(quick, bool):
        raise UserError(f"{where}: embed_dim={width!r}, quick_gelu={quick!r} in its config")
    part = section(config, "vision_cfg", where)
    vision, rules = image_backbone(part, weights, width, quick, dtype, where)
    text, text_rules = text_backbone(section(config, "text_cfg", where), width, quick, dtype, where)
    rules = [*prefixed(rules, "vision/"), *prefixed(text_rules, "text/")]
    biased = "logit_bias" in weights
    for name in ("logit_scale", "logit_bias")[: 1 + biased]:
        rules += same(name, name)
    model = DualEncoder(
        text,
        vision,
        inputs=INPUTS,
        bias=biased,
        scalars=weights["logit_scale"].shape,
        aliases=ALIASES if biased else ALIASES[:-1],
    )
    shapes = {
        "image": picture(vision.backbone),
        "text": jax.ShapeDtypeStruct((1, text.backbone.positions), jnp.int32),
    }
    parts = {
        "image": Part(vision.backbone, "vision/backbone", PREPARE.get(type(vision.backbone))),
        "text": Part(text.backbone, "text/backbone"),
    }
    return Architecture("open_clip", model, rules, shapes, normalise, parts)


SPEC = Spec("open_clip", recognises, build)

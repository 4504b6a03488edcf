"""Checkpoints of big_vision (https://github.com/google-research/big_vision), .npz files.

Image models, also those of the ViT paper's own library, and SigLIP. Such a file has no config: all
is read off its arrays. They do not tell tokens pooled by their mean from ones that are not pooled
(mean is assumed) nor how texts are pooled (the last token, as in all published models).
`numpy.savez(path, **interop.weights_of(model))` writes the names and shapes that were read.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mmjax.backbones.classifier import ImageModel
from mmjax.backbones.dual.dual import DualEncoder, Given, Projected
from mmjax.backbones.text.transformer import TextBackbone
from mmjax.backbones.vision.vit import VisionTransformer
from mmjax.errors import UserError
from mmjax.interop.architecture import Architecture, Checkpoint, Part, Spec
from mmjax.interop.weights.layout import Rule, Rules, prefixed, reshaped, same
from mmjax.nn.layers.dense import Dense

ROOTS = ("params/", "opt/target/")  # of training in both libraries; other arrays are its state
# The modules of a block: the ViT paper's library numbered them across kinds.
ATTENTION = "MultiHeadDotProductAttention"
COUNTS = {
    f"{ATTENTION}_0": (f"{ATTENTION}_0", "LayerNorm_1", "MlpBlock_0"),
    f"{ATTENTION}_1": (f"{ATTENTION}_1", "LayerNorm_2", "MlpBlock_3"),
}
# big_vision's names of the logarithm of the factor and of the bias, and of its inputs and outputs,
# beside those of transformers' SigLIP.
SCALARS = {"t": "logit_scale", "b": "logit_bias"}
INPUTS = (Given("image", "vision", "pixel_values"), Given("text", "text", "input_ids"))
ALIASES = (("zimg", "image_embeds"), ("ztxt", "text_embeds"), *SCALARS.items())
SETTINGS = {"activation": "gelu", "epsilon": 1e-6}


def normaliser_of(names: Iterable[str]) -> Callable[[str], str]:
    """From a name in the file to one below its parameters; "" for what lies beside them."""
    found = [root for root in ROOTS if any(name.startswith(root) for name in names)]
    root = found[0] if found else ""
    return lambda name: name.removeprefix(root) if name.startswith(root) else ""


def recognises(checkpoint: Checkpoint) -> bool:
    """By the names of the first convolution and of the norm that closes the blocks."""
    names = set(map(normaliser_of(checkpoint.weights), checkpoint.weights))
    return any(
        {f"{start}embedding/kernel", f"{start}Transformer/encoder_norm/scale"} <= names
        for start in ("", "img/")
    )


class Shapes:
    """Of the arrays of a file, by their normalised names."""

    def __init__(self, weights: Mapping[str, Any], where: str):
        self.weights, self.where = weights, where

    def __contains__(self, name: str) -> bool:
        return name in self.weights

    def below(self, start: str) -> "Shapes":
        """Those whose names begin so, with that cut off."""
        found = {n[len(start) :]: x for n, x in self.weights.items() if n.startswith(start)}
        return Shapes(found, self.where)

    def of(self, name: str, axes: int) -> tuple[int, ...]:
        """Raises UserError if there is no such array with so many axes."""
        if name not in self.weights or len(self.weights[name].shape) != axes:
            raise UserError(f"{self.where}: has no array {name!r} with {axes} axes")
        return self.weights[name].shape


def moved(ours: str, names: Sequence[str], load: Callable, save: Callable) -> Rules:
    """A rule of the parameters alone."""
    return [Rule(f"params/{ours}", tuple(names), load, save)]


def norm(ours: str, theirs: str) -> Rules:
    """A layer norm, of a block or of all blocks in one."""
    return same(f"{ours}/scale", f"{theirs}/scale") + same(f"{ours}/bias", f"{theirs}/bias")


def dense(ours: str, theirs: str) -> Rules:
    """A dense layer, of a block or of all blocks in one."""
    return same(f"{ours}/kernel", f"{theirs}/kernel") + same(f"{ours}/bias", f"{theirs}/bias")


def attention(kernel: str, bias: str, out: str, theirs: str, heads: int) -> Rules:
    """Kernels [D H K] of queries, keys and values, side by side here; [H K D] of the output.

    All may have a first axis of layers.
    """
    names = [f"{theirs}/{part}" for part in ("query", "key", "value")]

    def flat(x):
        return x.reshape(*x.shape[:-2], -1)

    def split(x):
        return [part.reshape(*part.shape[:-1], heads, -1) for part in np.split(x, 3, axis=-1)]

    def join(*parts):
        return np.concatenate([flat(part) for part in parts], axis=-1)

    def rows(x):
        return x.reshape(*x.shape[:-3], -1, x.shape[-1])

    def cut(x):
        return (x.reshape(*x.shape[:-2], heads, -1, x.shape[-1]),)

    return [
        *moved(kernel, [f"{name}/kernel" for name in names], join, split),
        *moved(bias, [f"{name}/bias" for name in names], join, split),
        *moved(f"{out}/kernel", [f"{theirs}/out/kernel"], rows, cut),
        *same(f"{out}/bias", f"{theirs}/out/bias"),
    ]


def blocks(start: str, shapes: Shapes, ours: str) -> tuple[dict[str, Any], Rules]:
    """Of the encoder below `start`: the sizes of the transformer called `ours`, and its layout."""
    scanned = f"{start}/encoderblock/LayerNorm_0/scale" in shapes
    first = f"{start}/encoderblock{'' if scanned else '_0'}"
    kinds = [kind for kind in COUNTS if f"{first}/{kind}/query/kernel" in shapes]
    if not kinds:
        raise UserError(f"{shapes.where}: {first!r} has no {ATTENTION}")
    attend, second, mlp = COUNTS[kinds[0]]
    width, heads, size = shapes.of(f"{first}/{attend}/query/kernel", 3 + scanned)[scanned:]
    if heads * size != width:
        raise UserError(f"{shapes.where}: {heads} heads of {size} are not the width {width}")
    rules = [
        *norm("attention_norm", "LayerNorm_0"),
        *attention("attention/qkv/kernel", "attention/qkv/bias", "attention/out", attend, heads),
        *norm("mlp_norm", second),
        *dense("mlp_in", f"{mlp}/Dense_0"),
        *dense("mlp_out", f"{mlp}/Dense_1"),
    ]
    if scanned:
        layers = shapes.of(f"{first}/LayerNorm_0/scale", 2)[0]
        found = prefixed(rules, f"{ours}/block/", f"{first}/")
    else:
        each = f"{start}/encoderblock_"
        layers = len({n[len(each) :].split("/")[0] for n in shapes.weights if n.startswith(each)})
        found = []
        for layer in range(layers):
            found += prefixed(rules, f"{ours}/block_{layer}/", f"{each}{layer}/")
    hidden = shapes.of(f"{first}/{mlp}/Dense_0/kernel", 2 + scanned)[-1]
    sizes = {"width": width, "layers": layers, "heads": heads, "mlp_width": hidden}
    return sizes | {"scan": scanned}, found


def map_head(heads: int) -> Rules:
    """Of `mmjax.backbones.vision.pooling.AttentionHead`."""
    attend = f"MAPHead_0/{ATTENTION}_0"
    return [
        *same("head/probe", "MAPHead_0/probe"),
        *attention("head/qkv_kernel", "head/qkv_bias", "head/out", attend, heads),
        *norm("head/norm", "MAPHead_0/LayerNorm_0"),
        *dense("head/mlp_in", "MAPHead_0/MlpBlock_0/Dense_0"),
        *dense("head/mlp_out", "MAPHead_0/MlpBlock_0/Dense_1"),
    ]


def features(backbone: Any, rules: Rules, shapes: Shapes, start: str) -> tuple[Projected, Rules]:
    """The backbone below `start` with its head, if it has one."""
    layer = None
    rules = prefixed(rules, "backbone/")
    if f"{start}head/kernel" in shapes:
        layer = Dense(shapes.of(f"{start}head/kernel", 2)[1], dtype=backbone.dtype)
        rules += dense("projection", "head")
    return Projected(backbone, layer), prefixed(rules, "", start)


def image_backbone(shapes: Shapes, start: str, dtype: Any) -> tuple[Projected, Rules]:
    """The ViT below `start`, and its layout."""
    inner = shapes.below(start)
    *sides, channels, width = inner.of("embedding/kernel", 4)
    sizes, rules = blocks("Transformer", inner, "transformer")
    places = [
        name
        for name in (
            "pos_embedding",
            "Transformer/posembed_input/pos_embedding",
            "Transformer/pos_embedding",
        )
        if name in inner
    ]
    if not places:
        raise UserError(f"{shapes.where}: no pos_embedding: mmjax has no fixed positions of ViTs")
    cells, classed, rep = inner.of(places[0], 3)[1], "cls" in inner, "pre_logits/kernel" in inner
    placed = classed and math.isqrt(cells) ** 2 != cells
    side = math.isqrt(cells - placed)
    pool = "attention" if "MAPHead_0/probe" in inner else "class" if classed else "mean"
    if side * side != cells - placed or (rep and pool != "class"):
        raise UserError(
            f"{shapes.where}: {cells} positions, pooled by {pool!r}{', pre_logits' * rep}: mmjax"
            " has no such ViT"
        )
    backbone = VisionTransformer(
        **sizes,
        **SETTINGS,
        patch_size=tuple(sides),
        grid=(side, side),
        class_token=classed,
        class_position=placed,
        pooling="class_dense" if rep else pool,
        pooler_width=inner.of("pre_logits/kernel", 2)[1] if rep else None,
        dtype=dtype,
    )
    rules += [
        *norm("transformer/norm", "Transformer/encoder_norm"),
        *reshaped(
            "patches/projection/kernel",
            "embedding/kernel",
            (math.prod(sides) * channels, width),
            (*sides, channels, width),
        ),
        *same("patches/projection/bias", "embedding/bias"),
        *reshaped("positions", places[0], (cells, width), (1, cells, width)),
        *(reshaped("class_token", "cls", (1, width), (1, 1, width)) if classed else ()),
        *(map_head(sizes["heads"]) if pool == "attention" else ()),
        *(dense("pooler", "pre_logits") if rep else ()),
    ]
    return features(backbone, rules, shapes, start)


def text_backbone(shapes: Shapes, dtype: Any) -> tuple[Projected, Rules]:
    """The text backbone, and its layout."""
    inner = shapes.below("txt/")
    sizes, rules = blocks("Encoder_0", inner, "transformer")
    words, width = inner.of("Embed_0/embedding", 2)
    length = inner.of("pos_embedding", 3)[1]
    backbone = TextBackbone(
        **sizes, **SETTINGS, vocabulary_size=words, positions=length, pooling="final", dtype=dtype
    )
    rules += [
        *norm("transformer/norm", "Encoder_0/encoder_norm"),
        *same("words/embedding", "Embed_0/embedding"),
        *reshaped("positions/embedding", "pos_embedding", (length, width), (1, length, width)),
    ]
    return features(backbone, rules, shapes, "txt/")


def build(checkpoint: Checkpoint, dtype: Any) -> Architecture:
    """An image model, or two backbones."""
    where = str(checkpoint.path)
    normalise = normaliser_of(checkpoint.weights)
    found = {normalise(name): tensor for name, tensor in checkpoint.weights.items()}
    found.pop("", None)
    shapes = Shapes(found, where)
    two = "img/embedding/kernel" in shapes
    vision, rules = image_backbone(shapes, "img/" if two else "", dtype)
    backbone = vision.backbone
    size = [cells * side for cells, side in zip(backbone.grid, backbone.patch_size, strict=True)]
    channels = shapes.of("img/embedding/kernel" if two else "embedding/kernel", 4)[2]
    example = {"image": jax.ShapeDtypeStruct((1, *size, channels), jnp.float32)}
    parts = {"image": Part(backbone, "vision/backbone" if two else "backbone")}
    if two:
        text, more = text_backbone(shapes, dtype)
        scalars = ("t", "b") if "b" in shapes else ("t",)
        rules = [*prefixed(rules, "vision/"), *prefixed(more, "text/")]
        for name in scalars:
            rules += same(SCALARS[name], name)
        module: Any = DualEncoder(
            text,
            vision,
            inputs=INPUTS,
            bias="b" in shapes,
            scalars=(1,),
            epsilon=1e-8,
            channels_last=True,
            aliases=ALIASES,
        )
        example["text"] = jax.ShapeDtypeStruct((1, text.backbone.positions), jnp.int32)
        parts["text"] = Part(text.backbone, "text/backbone")
    else:
        module = ImageModel(backbone, vision.projection)
    extra = sorted(set(found) - {name for rule in rules for name in rule.theirs})
    if extra:
        raise UserError(
            f"{where}: {extra[0]!r} and {len(extra) - 1} more arrays belong to no part that mmjax"
            " has of big_vision's models"
        )
    return Architecture("big_vision", module, rules, example, normalise, parts)


SPEC = Spec("big_vision", recognises, build)

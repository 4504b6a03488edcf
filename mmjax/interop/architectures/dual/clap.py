"""CLAP (Wu et al. 2022, https://arxiv.org/abs/2211.06687) as transformers stores it."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

from mmjax.backbones.audio.clap_audio import AsTokens
from mmjax.backbones.dual.dual import DualEncoder, Given, MlpProjection, Projected
from mmjax.backbones.text.transformer import TextBackbone
from mmjax.interop.architecture import Architecture, Checkpoint, Part, Spec, has_type, strip
from mmjax.interop.architectures.dual.clap_audio import audio_backbone, spectrogram
from mmjax.interop.architectures.settings import activation, section, settings
from mmjax.interop.architectures.text import bert, roberta
from mmjax.interop.encoding import front_ends_clap
from mmjax.interop.weights.layout import Rules, dense, prefixed, same

TEXT = {"max_position_embeddings": 514, "type_vocab_size": 1}
PROJECTION = {"projection_dim": 512, "projection_hidden_act": "relu"}
INPUTS = (
    Given("input_ids", "text"),
    Given("input_features", "audio"),
    Given("is_longer", "audio"),
    Given("attention_mask", "text"),
    Given("position_ids", "text"),
)
# Buffers that the files hold.
BUFFERS = (*bert.NUMBERS, "relative_position_index", "num_batches_tracked")


def normalise(*prefixes: str) -> Callable[[str], str]:
    """Names without these prefixes, and without buffers."""

    def plain(name: str) -> str:
        return "" if name.endswith(BUFFERS) else strip(prefixes, name)

    return plain


def text_backbone(config: Mapping[str, Any], dtype: Any, where: str) -> tuple[TextBackbone, Rules]:
    """The text backbone, a RoBERTa, and its layout below "text_model."."""
    return roberta.text_backbone(TEXT | dict(config), dtype, where, pooled=True)


def projection(kind: str, ours: str) -> Rules:
    """The layout of a part's two dense layers."""
    names = ("linear1", "linear2")
    return [rule for x in names for rule in dense(f"{ours}/{x}", f"{kind}_projection.{x}")]


def projection_of(checkpoint: Checkpoint, dtype: Any) -> MlpProjection:
    """The two dense layers, as config.json says."""
    where = str(checkpoint.path)
    c = settings(checkpoint.config, PROJECTION, where)
    return MlpProjection(c.projection_dim, activation(c.projection_hidden_act, where), dtype)


def parts(kind: str, backbone: Any, path: str) -> dict[str, Part]:
    """What a recipe plugs in."""
    if kind == "text":
        return {kind: Part(backbone, path, options={"padding": backbone.padding})}
    fused = backbone.fusion is not None
    read = functools.partial(front_ends_clap.clap_options, bins=backbone.bins, fused=fused)
    return {kind: Part(AsTokens(backbone), path, front_ends_clap.clap, read=read)}


def one_half(checkpoint: Checkpoint, kind: str, dtype: Any) -> Architecture:
    """ClapAudioModel or ClapTextModel, with its projection if the file has it."""
    where = str(checkpoint.path)
    if kind == "audio":
        plain = normalise("audio_model.audio_encoder.", "audio_encoder.")
        backbone, rules = audio_backbone(checkpoint.config, dtype, where)
        example, inputs = spectrogram(backbone), ("input_features", "is_longer")
    else:
        plain = normalise("text_model.")
        backbone, rules = text_backbone(checkpoint.config, dtype, where)
        example, inputs = bert.example(backbone), bert.INPUTS
    module, path = backbone, ""
    if f"{kind}_projection.linear1.weight" in checkpoint.weights:
        layers = projection_of(checkpoint, dtype)
        module = Projected(backbone, layers, f"{kind}_embeds")
        rules = [*prefixed(rules, "backbone/"), *projection(kind, "projection")]
        path = "backbone"
    return Architecture("clap", module, rules, example, plain, parts(kind, backbone, path), inputs)


def build(checkpoint: Checkpoint, dtype: Any) -> Architecture:
    """ClapModel, or one of its backbones with or without its projection."""
    kind, where = checkpoint.config["model_type"], str(checkpoint.path)
    if kind != "clap":
        return one_half(checkpoint, kind.split("_")[1], dtype)
    config = section(checkpoint.config, "audio_config", where)
    audio, audio_rules = audio_backbone(config, dtype, where)
    config = section(checkpoint.config, "text_config", where)
    text, text_rules = text_backbone(config, dtype, where)
    both = [Projected(backbone, projection_of(checkpoint, dtype)) for backbone in (text, audio)]
    module = DualEncoder(both[0], audio=both[1], inputs=INPUTS, text_scale=True)
    rules = [
        *prefixed(audio_rules, "audio/backbone/", "audio_model.audio_encoder."),
        *prefixed(text_rules, "text/backbone/", "text_model."),
        *projection("audio", "audio/projection"),
        *projection("text", "text/projection"),
        *same("logit_scale", "logit_scale_a"),
        *same("logit_scale_text", "logit_scale_t"),
    ]
    example = {**bert.example(text), **spectrogram(audio)}
    both = parts("audio", audio, "audio/backbone") | parts("text", text, "text/backbone")
    return Architecture("clap", module, rules, example, normalise("clap."), both)


SPEC = Spec("clap", has_type("clap", "clap_audio_model", "clap_text_model"), build)

"""Whisper (Radford et al. 2022, https://arxiv.org/abs/2212.04356) as transformers has it."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from mmjax.backbones.audio.whisper import WhisperBackbone, WhisperModel
from mmjax.backbones.classifier import Classifier
from mmjax.backbones.stack import check_heads
from mmjax.backbones.text.decoder import TextDecoder
from mmjax.interop.architecture import Architecture, Checkpoint, Part, Spec, has_type, strip
from mmjax.interop.architectures.blocks import repeated
from mmjax.interop.architectures.settings import activation, settings
from mmjax.interop.encoding import front_ends
from mmjax.interop.weights.layout import (
    Rule,
    Rules,
    convolution,
    dense,
    norm,
    prefixed,
    qkv,
    same,
    side_by_side,
)

CONFIG = {
    "vocab_size": 51865,
    "num_mel_bins": 80,
    "d_model": 384,
    "encoder_layers": 4,
    "encoder_attention_heads": 6,
    "encoder_ffn_dim": 1536,
    "decoder_layers": 4,
    "decoder_attention_heads": 6,
    "decoder_ffn_dim": 1536,
    "activation_function": "gelu",
    "max_source_positions": 1500,
    "max_target_positions": 448,
    "tie_word_embeddings": True,
    "use_weighted_layer_sum": False,
}


def block_rules(width: int, between: Sequence[Rule] = ()) -> Rules:
    """Of self-attention, what is between, and the mlp."""
    names = [f"self_attn.{part}_proj" for part in "qkv"]
    return [
        *norm("attention_norm", "self_attn_layer_norm"),
        *qkv("attention/qkv", names, width, biased=(True, False, True)),
        *dense("attention/out", "self_attn.out_proj"),
        *between,
        *norm("mlp_norm", "final_layer_norm"),
        *dense("mlp_in", "fc1"),
        *dense("mlp_out", "fc2"),
    ]


def encoder_of(config: Mapping[str, Any], dtype: Any, where: str) -> tuple[WhisperBackbone, Rules]:
    """The module and its layout below "encoder."."""
    c = settings(config, CONFIG, where)
    check_heads(where, c.d_model, c.encoder_attention_heads)
    encoder = WhisperBackbone(
        width=c.d_model,
        layers=c.encoder_layers,
        heads=c.encoder_attention_heads,
        mlp_width=c.encoder_ffn_dim,
        bins=c.num_mel_bins,
        positions=c.max_source_positions,
        activation=activation(c.activation_function, where),
        dtype=dtype,
    )
    rules = [
        *convolution("conv_0", "conv1", 1),
        *convolution("conv_1", "conv2", 1),
        *same("positions", "embed_positions.weight"),
        *repeated(block_rules(c.d_model), "transformer", "layers", c.encoder_layers),
        *norm("transformer/norm", "layer_norm"),
    ]
    return encoder, rules


def decoder_of(
    config: Mapping[str, Any], dtype: Any, where: str, logits: str | None
) -> tuple[TextDecoder, Rules]:
    """The module and its layout below "decoder."; `logits` is as of the module."""
    c = settings(config, CONFIG, where)
    check_heads(where, c.d_model, c.decoder_attention_heads)
    width = c.d_model
    decoder = TextDecoder(
        width=width,
        layers=c.decoder_layers,
        heads=c.decoder_attention_heads,
        mlp_width=c.decoder_ffn_dim,
        vocabulary_size=c.vocab_size,
        positions=c.max_target_positions,
        activation=activation(c.activation_function, where),
        logits=logits,
        dtype=dtype,
    )
    pair = ["encoder_attn.k_proj", "encoder_attn.v_proj"]
    cross = [
        *norm("cross_norm", "encoder_attn_layer_norm"),
        *dense("cross/q", "encoder_attn.q_proj"),
        *side_by_side("cross/kv", pair, (width, width), (False, True)),
        *dense("cross/out", "encoder_attn.out_proj"),
    ]
    rules = [
        *same("words", "embed_tokens.weight"),
        *same("positions", "embed_positions.weight"),
        *norm("transformer/norm", "layer_norm"),
        *repeated(block_rules(width, cross), "transformer", "layers", c.decoder_layers),
    ]
    return decoder, rules


def model_of(
    config: Mapping[str, Any], dtype: Any, where: str, logits: str | None
) -> tuple[WhisperModel, Rules]:
    """Encoder and decoder and their layout; `logits` is as of the decoder."""
    encoder, rules = encoder_of(config, dtype, where)
    decoder, more = decoder_of(config, dtype, where, logits)
    rules = [*prefixed(rules, "encoder/", "encoder."), *prefixed(more, "decoder/", "decoder.")]
    if logits == "own":
        rules += same("decoder/logits_table", "proj_out.weight")
    return WhisperModel(encoder, decoder), rules


def config_of(model: WhisperModel) -> dict[str, Any]:
    """What config.json says of a model with the exact GELU."""
    encoder, decoder = model.encoder, model.decoder
    sizes = {
        f"{name}_{key}": getattr(half, attribute)
        for name, half in (("encoder", encoder), ("decoder", decoder))
        for key, attribute in (
            ("layers", "layers"),
            ("attention_heads", "heads"),
            ("ffn_dim", "mlp_width"),
        )
    }
    return sizes | {
        "model_type": "whisper",
        "architectures": ["WhisperForConditionalGeneration"],
        "vocab_size": decoder.vocabulary_size,
        "num_mel_bins": encoder.bins,
        "d_model": decoder.width,
        "activation_function": "gelu",
        "max_source_positions": encoder.positions,
        "max_target_positions": decoder.positions,
    }


def architecture(name: str, model: WhisperModel, rules: Rules, normalise: Any) -> Architecture:
    """Of encoder and decoder."""
    shapes = {
        "input_features": features(model.encoder),
        "decoder_input_ids": jax.ShapeDtypeStruct((1, 1), jnp.int32),
    }
    parts = {"audio": part_of(model.encoder, "encoder")}
    return Architecture(name, model, rules, shapes, normalise, parts)


def part_of(encoder: WhisperBackbone, path: str) -> Part:
    """How a recipe encodes audio with it."""
    return Part(encoder, path, front_ends.whisper, {"bins": encoder.bins})


def features(encoder: WhisperBackbone) -> jax.ShapeDtypeStruct:
    """One recording of the length that an encoder was trained with."""
    return jax.ShapeDtypeStruct((1, encoder.bins, 2 * encoder.positions), jnp.float32)


def build(checkpoint: Checkpoint, dtype: Any) -> Architecture:
    """WhisperModel, WhisperForConditionalGeneration, WhisperForAudioClassification, or the encoder
    alone, as the file says."""
    where, weights = str(checkpoint.path), checkpoint.weights
    if not any("decoder." in name for name in weights):
        return encoder_only(checkpoint, dtype)
    tied = settings(checkpoint.config, CONFIG, where).tie_word_embeddings
    logits = "tied" if tied else "own" if "proj_out.weight" in weights else None

    def normalise(name: str) -> str:
        # A file may repeat the table of the words as what gives the logits.
        return "" if tied and name == "proj_out.weight" else strip(("model.",), name)

    model, rules = model_of(checkpoint.config, dtype, where, logits)
    return architecture("whisper", model, rules, normalise)


def encoder_only(checkpoint: Checkpoint, dtype: Any) -> Architecture:
    """The encoder, with its classifier if the file has it."""
    where, weights = str(checkpoint.path), checkpoint.weights
    encoder, rules = encoder_of(checkpoint.config, dtype, where)

    def normalise(name: str) -> str:
        return strip(("model.encoder.", "encoder."), name)

    module, part = encoder, part_of(encoder, "")
    if "classifier.weight" in weights and "projector.weight" in weights:
        labels, width = weights["classifier.weight"].shape
        weighted = settings(checkpoint.config, CONFIG, where).use_weighted_layer_sum
        module = Classifier(encoder, labels, dtype, "mean", weighted=weighted, width=width)
        part = part_of(encoder, "backbone")
        rules = [
            *prefixed(rules, "backbone/"),
            *dense("hidden", "projector"),
            *dense("classifier", "classifier"),
            *(same("weights", "layer_weights") if weighted else ()),
        ]
    shapes, parts = {"input_features": features(encoder)}, {"audio": part}
    return Architecture(
        "whisper", module, rules, shapes, normalise, parts, inputs=("input_features",)
    )


SPEC = Spec("whisper", has_type("whisper"), build)

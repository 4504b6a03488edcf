"""Silero VAD for 16 kHz (https://github.com/snakers4/silero-vad): its safetensors file, and its
TorchScript, which has other weights and beside them a model for 8 kHz, which is left over."""

import re
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mmjax.backbones.audio import speech
from mmjax.errors import UserError
from mmjax.interop.architecture import Architecture, Checkpoint, Part, Spec, input_names
from mmjax.interop.encoding import front_ends
from mmjax.interop.weights.layout import Rule, Rules, convolution, same, transposed
from mmjax.nn.audio.spectrogram import strided_mask
from mmjax.nn.layers.masking import zero_masked

# From the names in the TorchScript to those in the safetensors file.
NAMES = (
    (r"^_model\.stft\.forward_basis_buffer$", lambda _: "stft_conv.weight"),
    (r"^_model\.encoder\.(\d)\.reparam_conv", lambda found: f"conv{int(found[1]) + 1}"),
    (r"^_model\.decoder\.rnn", lambda _: "lstm_cell"),
    (r"^_model\.decoder\.decoder\.2", lambda _: "final_conv"),
)
NEEDED = {"stft_conv.weight", "lstm_cell.weight_hh", "conv4.weight", "final_conv.weight"}


def normalise(name: str) -> str:
    """In the names of the safetensors file."""
    for other, own in NAMES:
        name = re.sub(other, own, name)
    return name


def lstm(ours: str, theirs: str) -> Rules:
    """Of `mmjax.backbones.audio.speech.Lstm`; in `theirs` {} stands for the part."""
    return [
        *transposed(f"{ours}/input", theirs.format("weight_ih"), (1, 0)),
        *transposed(f"{ours}/recurrent", theirs.format("weight_hh"), (1, 0)),
        *same(f"{ours}/input_bias", theirs.format("bias_ih")),
        *same(f"{ours}/recurrent_bias", theirs.format("bias_hh")),
    ]


def waveforms(
    value: Float[Array, "B S"], mask: Bool[Array, "B S"] | None
) -> tuple[dict[str, Array], Bool[Array, "B N"]]:
    """input_values [B S], silent where masked, and which frames are real."""
    front_ends.check(value)
    mask = jnp.ones(value.shape, bool) if mask is None else mask
    inputs = {"input_values": zero_masked(value[..., None], mask)[..., 0], "attention_mask": mask}
    return inputs, strided_mask(mask, speech.FRAME, -(-value.shape[1] // speech.FRAME))


def build(checkpoint: Checkpoint, dtype: Any) -> Architecture:
    """The encoder and its probabilities of speech."""
    weights = {normalise(name): tensor for name, tensor in checkpoint.weights.items()}
    bins = speech.WINDOW // 2 + 1
    given = weights["stft_conv.weight"].shape
    if given != (2 * bins, 1, speech.WINDOW):
        raise UserError(
            f"{checkpoint.path}: 'stft_conv.weight' has the shape {list(given)}: mmjax has only the"
            " model for 16 kHz"
        )
    names = [f"conv{n}" for n in range(1, 5)]
    missing = [name for name in names if f"{name}.weight" not in weights]
    if missing:
        raise UserError(f"{checkpoint.path}: {missing[0]}.weight is missing: fetch the file anew")
    channels = tuple(weights[f"{name}.weight"].shape[0] for name in names)
    width = weights["lstm_cell.weight_hh"].shape[1]
    backbone = speech.SileroBackbone(channels, width, dtype)
    rules = convolution("stft", "stft_conv", 1, bias=False)
    for layer, name in enumerate(names):
        rules += convolution(f"conv{layer}", name, 1)
    rules += lstm("lstm", "lstm_cell.{}")
    rules += [
        Rule(
            "params/speech/kernel",
            ("final_conv.weight",),
            lambda x: x.squeeze(2).T,
            lambda x: (x.T[..., None],),
        ),
        *same("speech/bias", "final_conv.bias"),
    ]
    shapes = {"input_values": jax.ShapeDtypeStruct((1, 4 * speech.FRAME), jnp.float32)}
    parts = {"audio": Part(backbone, "", waveforms)}
    return Architecture("silero", backbone, rules, shapes, normalise, parts, input_names(backbone))


def recognises(checkpoint: Checkpoint) -> bool:
    """By the names of its tensors."""
    return {normalise(name) for name in checkpoint.weights} >= NEEDED


SPEC = Spec("silero", recognises, build)

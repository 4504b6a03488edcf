"""Resemblyzer's encoder of who speaks (https://github.com/resemble-ai/Resemblyzer): GE2E (Wan et
al. 2018, https://arxiv.org/abs/1710.10467)."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from mmjax.backbones.audio.speech import SpeakerBackbone
from mmjax.interop.architecture import Architecture, Checkpoint, Part, Spec, input_names
from mmjax.interop.architectures.audio.silero import lstm
from mmjax.interop.encoding import front_ends
from mmjax.interop.weights.layout import dense
from mmjax.nn.audio.mel import mel_filters
from mmjax.nn.audio.spectrogram import frames, power_spectrum
from mmjax.nn.layers.masking import zero_masked

WINDOW, HOP = 400, 160  # samples at 16 kHz
NEEDED = {"similarity_weight", "lstm.weight_ih_l0", "linear.weight"}


def mels(
    value: Float[Array, "B S"], mask: Bool[Array, "B S"] | None, *, bins: int
) -> tuple[dict[str, Array], Bool[Array, "B T"]]:
    """mels [B T F] of the whole recording, T = 1 + S // 160, and which frames are real.

    As librosa's melspectrogram with windows of 25 ms. The loudness is not changed, and silence is
    not cut out, which Resemblyzer does before.
    """
    front_ends.check(value)
    mask = jnp.ones(value.shape, bool) if mask is None else mask
    x = zero_masked(value[..., None], mask)[..., 0]
    x = frames(jnp.pad(x, ((0, 0), (WINDOW // 2, WINDOW // 2))), WINDOW, HOP)
    power = power_spectrum(x * jnp.asarray(np.hanning(WINDOW + 1)[:-1], jnp.float32), WINDOW)
    filters = mel_filters(power.shape[-1], bins, front_ends.RATE, scale="slaney", area=True)
    filters = jnp.asarray(filters, jnp.float32)
    found = jnp.matmul(power, filters, precision=jax.lax.Precision.HIGHEST)
    # Frame t is centred on sample t * HOP, and is there if the recording goes so far.
    hops = mask[:, : (found.shape[1] - 1) * HOP].reshape(len(mask), -1, HOP)
    real = jnp.concatenate([jnp.any(mask, axis=1, keepdims=True), jnp.all(hops, axis=2)], axis=1)
    return {"mels": found, "attention_mask": real}, real


def build(checkpoint: Checkpoint, dtype: Any) -> Architecture:
    """The encoder; the scale and offset of its loss are left over."""
    names = checkpoint.weights
    size, bins = names["lstm.weight_ih_l0"].shape
    layers = next(n for n in itertools.count() if f"lstm.weight_ih_l{n}" not in names)
    embedding = names["linear.weight"].shape[0]
    backbone = SpeakerBackbone(bins, size // 4, layers, embedding, dtype)
    rules = dense("linear", "linear")
    for layer in range(layers):
        rules += lstm(f"lstm_{layer}", f"lstm.{{}}_l{layer}")
    shapes = {"mels": jax.ShapeDtypeStruct((1, 160, bins), jnp.float32)}
    parts = {"audio": Part(backbone, "", mels, {"bins": bins})}
    inputs = input_names(backbone)
    return Architecture("resemblyzer", backbone, rules, shapes, parts=parts, inputs=inputs)


def recognises(checkpoint: Checkpoint) -> bool:
    """By the names of its tensors."""
    return checkpoint.weights.keys() >= NEEDED


SPEC = Spec("resemblyzer", recognises, build)

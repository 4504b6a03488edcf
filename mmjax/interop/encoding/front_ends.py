"""Waveforms -> the inputs of published audio models, in the graph; see `encoder.PREPARE`.

CLAP's are in `mmjax.interop.encoding.front_ends_clap`.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Shaped

from mmjax.backbones.audio.wav2vec2 import frames_of
from mmjax.errors import UserError
from mmjax.interop.preprocess.sounds.sound_settings import sound_settings
from mmjax.nn.audio.resample import resample
from mmjax.nn.audio.spectrogram import AUDIOSET_MEAN, AUDIOSET_STD, log_mel, strided_mask
from mmjax.nn.layers.masking import zero_masked

RATE = 16_000  # Hz, of all models whose options have no `sample_rate`


def check(value: Shaped[Array, "B S"], rate: int = RATE) -> None:
    """Raises UserError for a waveform that is not float32; `rate`: what the model takes, in Hz."""
    if value.dtype != jnp.float32:
        raise UserError(
            f"audio: expected a float32 waveform with values -1 to 1 at {rate} Hz, got"
            f" {value.dtype} (int16 samples: divide by 32768)"
        )


def resampled(
    value: Float[Array, "B S"],
    mask: Bool[Array, "B S"] | None,
    *,
    rate: int,
    target: int,
    prepare: Callable[..., tuple[dict[str, Array], Array]],
) -> tuple[dict[str, Array], Array]:
    """Waveforms at `rate` -> what `prepare` makes of them at `target`, in Hz."""
    check(value, rate)
    return prepare(*resample(value, mask, rate=rate, target=target))


def lengths(value: Float[Array, "B S"], mask: Bool[Array, "B S"] | None) -> Int[Array, " B"]:
    """Samples up to the last real one; masked ones before it are silence within the sound."""
    if mask is None:
        return jnp.full(value.shape[:1], value.shape[1])
    return jnp.max(jnp.where(mask, jnp.arange(1, value.shape[1] + 1), 0), axis=1, initial=0)


def settings_of(config: Mapping[str, Any], name: str, where: str) -> dict[str, Any]:
    """What a checkpoint's file says of its feature extractor, which must be of the class `name`.

    Args:
        config: the contents of the file; {} if there is none. Older ones do not name the class.
        name: a key of `mmjax.interop.preprocess.sounds.sound_settings.DEFAULTS`.
        where: the checkpoint.

    Raises:
        UserError: there is no such file, or it is not understood.
    """
    config = config.get("feature_extractor") or config
    if "sampling_rate" not in config:
        raise UserError(
            f"{where}: no file there says how sounds become its inputs: add its"
            " preprocessor_config.json"
        )
    found, values = sound_settings({"feature_extractor_type": name, **config})
    if found != name:
        raise UserError(f"{where}: its sounds are said to be prepared by {found}, not by {name}")
    return values


def whisper(
    value: Float[Array, "B S"], mask: Bool[Array, "B S"] | None, *, bins: int
) -> tuple[dict[str, Array], Bool[Array, "B N"]]:
    """input_features [B F T], as long as the waveforms are; what is masked is silence.

    The published models were trained on 30 s, silence included, which they attend to.
    """
    check(value)
    front_end = functools.partial(log_mel, convention="whisper", sample_rate=RATE, bins=bins)
    mask = jnp.ones(value.shape, bool) if mask is None else mask
    silent = jnp.where(mask, value, 0.0)
    # Masked frames would be zeros, which no silence is.
    (x, _), (_, real) = front_end(silent, None), front_end(silent, mask)
    tokens = strided_mask(real, 2, -(-x.shape[1] // 2))
    return {"input_features": jnp.swapaxes(x, 1, 2)}, tokens


def ast_options(config: Mapping[str, Any], where: str) -> dict[str, Any]:
    """`mean` and `std` of `ast` by the contents of preprocessor_config.json.

    {} without one: AudioSet's, by which the published models were trained. See `settings_of`.
    """
    if not config:
        return {}
    values = settings_of(config, "ASTFeatureExtractor", where)
    if not values["do_normalize"]:
        return {"mean": 0.0, "std": 0.5}
    return {"mean": values["mean"], "std": values["std"]}


def ast(
    value: Float[Array, "B S"],
    mask: Bool[Array, "B S"] | None,
    *,
    bins: int,
    frames: int,
    mean: float = AUDIOSET_MEAN,
    std: float = AUDIOSET_STD,
) -> tuple[dict[str, Array], Bool[Array, " B"]]:
    """input_values [B T F], cut or padded with zeros before they are normalised, as AST pads.

    Args:
        value, mask: the waveform, and which samples are real.
        bins, frames: F and T of the model.
        mean, std: of its log-mel features, by which it was trained: (x - mean) / (2 std).
    """
    check(value)
    x, real = log_mel(value, mask, convention="kaldi", sample_rate=RATE, bins=bins)
    x = zero_masked(x * (2 * AUDIOSET_STD) + AUDIOSET_MEAN, real)[:, :frames]
    x = jnp.pad(x, ((0, 0), (0, frames - x.shape[1]), (0, 0)))
    return {"input_values": (x - mean) / (2 * std)}, jnp.any(real, axis=1)


def wav2vec2_options(config: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Options of `wav2vec2` by the contents of preprocessor_config.json; see `settings_of`."""
    values = settings_of(config, "Wav2Vec2FeatureExtractor", where)
    names = ("do_normalize", "return_attention_mask", "sampling_rate")
    return dict(zip(("normalised", "masked", "sample_rate"), map(values.get, names), strict=True))


def wav2vec2(
    value: Float[Array, "B S"],
    mask: Bool[Array, "B S"] | None,
    *,
    sizes: Sequence[int],
    strides: Sequence[int],
    normalised: bool,
    masked: bool,
    sample_rate: int = RATE,
) -> tuple[dict[str, Array], Bool[Array, "B N"]]:
    """input_values [B S], zeros where masked, and which frames are wholly of real samples.

    A sound is normalised by its own samples, as in the training of these models and as by their
    extractor for one sound alone. For a padded batch without an attention mask, the extractor
    counts the padding, too.

    Args:
        value, mask: the waveform, and which samples are real.
        sizes, strides: of the model's convolutions, in frames of their inputs.
        normalised: whether sounds get a mean of 0 and a variance of 1.
        masked: whether the model gets an attention mask. Else it reads the silence behind a sound,
            and the tokens of the sound depend on how long that is, as they do in the original.
        sample_rate: of the waveform, in Hz.
    """
    check(value, sample_rate)
    length = lengths(value, mask)
    real = jnp.ones(value.shape, bool) if mask is None else mask
    x = jnp.where(real, value, 0.0)
    if normalised:
        count = jnp.maximum(jnp.sum(real, axis=1, keepdims=True), 1)
        x = jnp.where(real, x - jnp.sum(x, axis=1, keepdims=True) / count, 0.0)
        x = x / jnp.sqrt(jnp.sum(x**2, axis=1, keepdims=True) / count + 1e-7)
    inputs = {"input_values": x}
    if masked:
        inputs["attention_mask"] = jnp.arange(value.shape[1]) < length[:, None]
    frames = jnp.arange(max(frames_of(value.shape[1], sizes, strides), 0))
    return inputs, frames < frames_of(length, sizes, strides)[:, None]

"""Waveforms -> the inputs of CLAP, in the graph; see `mmjax.interop.encoding.front_ends`."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from mmjax.errors import UserError
from mmjax.interop.encoding.front_ends import check, lengths, settings_of
from mmjax.interop.preprocess.sounds.waveforms import band_filters
from mmjax.nn.audio.spectrogram import frames, power_spectrum

THIRDS = 3


def clap_options(
    config: Mapping[str, Any], where: str, *, bins: int, fused: bool
) -> dict[str, Any]:
    """Options of `clap` by the contents of preprocessor_config.json; see `front_ends.settings_of`.

    Args:
        config, where: of the checkpoint.
        bins: that the model takes.
        fused: whether the model takes parts of longer sounds, too.

    Raises:
        UserError: the file is missing, not understood, or of a model of another kind.
    """
    values = settings_of(config, "ClapFeatureExtractor", where)
    truncation = "fusion" if fused else "rand_trunc"
    for key, wanted in (("truncation", truncation), ("feature_size", bins)):
        if values[key] != wanted:
            raise UserError(
                f"{where}: {key}={values[key]!r} in its preprocessor_config.json, but the model"
                f" takes sounds with {key}={wanted!r}: one of the files is of another model"
            )
    return {
        "bins": bins,
        "fused": fused,
        "sample_rate": values["sampling_rate"],
        "size": values["fft_window_size"],
        "hop": values["hop_length"],
        "most": int(values["max_length_s"] * values["sampling_rate"]),
        "band": (values["frequency_min"], values["frequency_max"]),
        "padding": values["padding"],
    }


def clap(
    value: Float[Array, "B S"],
    mask: Bool[Array, "B S"] | None,
    *,
    bins: int,
    fused: bool,
    sample_rate: int,
    size: int,
    hop: int,
    most: int,
    band: tuple[float, float],
    padding: str,
) -> tuple[dict[str, Array], Bool[Array, " B"]]:
    """input_features [B 1 T F] in dB, or [B 4 T F] and is_longer [B 1] for models with fusion.

    As ClapFeatureExtractor, but nothing is drawn. Of a longer sound a model without fusion takes
    the beginning; one with fusion takes the whole, shrunk, and the middle one of the parts that
    could be drawn from each third of it. Where no sound of a batch is longer, the extractor calls
    one of them longer all the same; here none is, so that a sound's tokens depend on it alone.

    Args:
        value, mask: the waveform, and which samples are real.
        bins: F.
        fused: whether the model has fusion.
        sample_rate: in Hz.
        size, hop: of the windows, in samples.
        most: how many samples the model takes; T is 1 + most // hop.
        band: from where to where the mel filters reach, in Hz.
        padding: of shorter sounds: "repeatpad" (as often as it fits, then silence), "repeat" or
            "pad" (silence).
    """
    check(value, sample_rate)
    length = lengths(value, mask)
    silent = value if mask is None else jnp.where(mask, value, 0.0)
    kept = jnp.maximum(length, most) if fused else jnp.full_like(length, most)
    ends = {"repeatpad": jnp.maximum(most // jnp.maximum(length, 1), 1) * length}
    ends |= {"repeat": kept, "pad": length}
    # Which sample each place of the windows holds: around both ends they are mirrored.
    longest = max(value.shape[1], most) if fused else most
    at = abs(jnp.arange(-(size // 2), longest + size // 2)) % (2 * (kept[:, None] - 1))
    at = jnp.minimum(at, 2 * (kept[:, None] - 1) - at)
    x = jnp.take_along_axis(silent, at % jnp.maximum(length, 1)[:, None], axis=1)
    x = frames(jnp.where(at < ends[padding][:, None], x, 0.0), size, hop)
    power = power_spectrum(x * jnp.asarray(np.hanning(size + 1)[:-1], jnp.float32), size)
    filters = band_filters(1 + size // 2, bins, sample_rate, *band, slaney=not fused)
    filters = jnp.asarray(filters, jnp.float32)
    mel = jnp.matmul(power, filters, precision=jax.lax.Precision.HIGHEST)
    x, real = 10 * jnp.log10(jnp.maximum(mel, 1e-10)), length > 0
    if not fused:
        return {"input_features": x[:, None], "real": real}, real
    count, total = 1 + most // hop, 1 + kept // hop
    inputs = {"input_features": four(x, total, count), "is_longer": (total > count)[:, None]}
    return {**inputs, "real": real}, real


def four(
    x: Float[Array, "B T F"], total: Int[Array, " B"], count: int
) -> Float[Array, "B 4 count F"]:
    """The first `total` frames shrunk to `count`, and `count` of them from each third.

    Of as many frames as `count`, all four are these.
    """
    scale = total[:, None].astype(jnp.float32) / count
    places = jnp.maximum(scale * (jnp.arange(count, dtype=jnp.float32) + 0.5) - 0.5, 0.0)
    low = places.astype(jnp.int32)
    share = (places - low)[..., None]
    above = jnp.take_along_axis(x, jnp.minimum(low + 1, total[:, None] - 1)[..., None], axis=1)
    shrunk = (1 - share) * jnp.take_along_axis(x, low[..., None], axis=1) + share * above
    # As many places to start as numpy.array_split gives each third.
    thirds = (total[:, None] - count + THIRDS - jnp.arange(THIRDS)) // THIRDS
    starts = jnp.where(thirds > 0, jnp.cumsum(thirds, axis=1) - thirds + thirds // 2, 0)
    at = starts[..., None] + jnp.arange(count)
    parts = jnp.take_along_axis(x[:, None], at[..., None], axis=2)
    return jnp.concatenate([shrunk[:, None], parts], axis=1)

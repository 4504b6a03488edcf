"""preprocessor_config.json of sounds: defaults filled in, and what would change the numbers."""

from collections.abc import Mapping
from typing import Any

from mmjax.errors import UserError, decoding
from mmjax.interop.preprocess import limits
from mmjax.nn.audio.spectrogram import AUDIOSET_MEAN, AUDIOSET_STD
from mmjax.nn.layers.options import choose

Values = Mapping[str, Any]

# Keys that follow from the others, or that no extractor reads.
_SILENT = {
    *("feature_extractor_type", "processor_class", "n_samples", "mel_filters", "nb_max_frames"),
    *("nb_max_samples", "nb_frequency_bins", "chunk_length_s", "top_db", "mel_filters_slaney"),
    *("window", "return_tensors", "model_input_names"),
}
_COMMON = {"padding_side": "right", "padding_value": 0.0, "return_attention_mask": False}
_AST = {"feature_size": 1, "num_mel_bins": 128, "max_length": 1024, "do_normalize": True}
_CLAP_SIZES = {"feature_size": 64, "hop_length": 480, "fft_window_size": 1024}
_WHISPER = {"feature_size": 80, "hop_length": 160, "chunk_length": 30, "n_fft": 400, "dither": 0.0}
# By class: the values that it has where the file does not say them.
DEFAULTS: Mapping[str, Values] = {
    "ASTFeatureExtractor": (
        _COMMON | _AST | {"sampling_rate": 16_000, "mean": AUDIOSET_MEAN, "std": AUDIOSET_STD}
    ),
    "ClapFeatureExtractor": (
        _COMMON
        | _CLAP_SIZES
        | {"sampling_rate": 48_000, "max_length_s": 10.0, "truncation": "fusion"}
        | {"padding": "repeatpad", "frequency_min": 0.0, "frequency_max": 14_000.0}
    ),
    "Wav2Vec2FeatureExtractor": (
        _COMMON | {"feature_size": 1, "sampling_rate": 16_000, "do_normalize": True}
    ),
    "WhisperFeatureExtractor": _COMMON | _WHISPER | {"sampling_rate": 16_000},
}
_CHOICES = {"truncation": ("fusion", "rand_trunc"), "padding": ("repeatpad", "repeat", "pad")}
# What the extractors do not do otherwise, or not twice alike (dither is random).
_FIXED: Mapping[str, Values] = {
    "ASTFeatureExtractor": {"sampling_rate": 16_000, "feature_size": 1},
    "ClapFeatureExtractor": {},
    "Wav2Vec2FeatureExtractor": {"feature_size": 1},
    "WhisperFeatureExtractor": {"sampling_rate": 16_000, "dither": 0.0},
}
_OTHERS = {name: ("n_fft",) if name == "ClapFeatureExtractor" else () for name in _FIXED}


@decoding("sound processor: its settings cannot be understood", "fetch the file anew")
def sound_settings(
    config: Mapping[str, Any], default: str | None = None
) -> tuple[str, dict[str, Any]]:
    """The class of a feature extractor, a key of DEFAULTS, and all its values.

    Args:
        config: the contents of preprocessor_config.json or processor_config.json.
        default: the class where the file names none, as older ones do not. None: it must.

    Raises:
        UserError: a class, key or value that is not understood.
    """
    if isinstance(config.get("feature_extractor"), Mapping):
        return sound_settings(config["feature_extractor"], default)
    name = config.get("feature_extractor_type") or default
    if not isinstance(name, str):
        raise UserError("sound processor: the configuration has no feature_extractor_type")
    defaults = choose(DEFAULTS, name, "sound processor")
    for key, value in config.items():
        if value is not None and key not in defaults and key not in _SILENT | set(_OTHERS[name]):
            raise UserError(
                f"{name}: unknown key {key!r} with the value {value!r} may change the numbers"
            )
    values = dict(defaults) | {key: v for key, v in config.items() if v is not None}
    _check(values, defaults, name)
    return name, {key: type(default)(values[key]) for key, default in defaults.items()}


def _check(values: Values, defaults: Values, name: str) -> None:
    """Values of the kind that the defaults are, and those choices that there are."""
    for key, default in defaults.items():
        value = values[key]
        kind = bool if isinstance(default, bool) else str if isinstance(default, str) else None
        if kind and not isinstance(value, kind):
            raise UserError(f"{name}: {key} cannot be {value!r}")
        if kind is None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise UserError(f"{name}: {key} must be a number, not {value!r}")
        if kind is None and not abs(value) <= 10**6:
            raise UserError(f"{name}: {key} cannot be {value!r}")
        if isinstance(default, int) and kind is None and (value < 1 or value != int(value)):
            raise UserError(f"{name}: {key} must be a positive whole number, not {value!r}")
    if values.get("n_fft", 2) % 2 or values.get("fft_window_size", 2) % 2:
        raise UserError(f"{name}: n_fft and fft_window_size must be even")
    fixed = {"padding_side": "right", "padding_value": 0.0} | _FIXED[name]
    for key, value in fixed.items():
        if values[key] != value:
            raise UserError(f"{name}: {key} must be {value!r}, not {values[key]!r}")
    for key in ("truncation", "padding"):
        if key in defaults:
            choose(dict.fromkeys(_CHOICES[key]), values[key], f"{name} {key}")
    if values.get("std", 1.0) <= 0 or values.get("frequency_max", 1) <= values.get(
        "frequency_min", 0
    ):
        raise UserError(f"{name}: std must be positive, frequency_max over frequency_min")
    limits.check_sound(values, name)

"""Sounds, series and videos as users have them, of any length up to the model's -> its inputs."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Float32

from mmjax.data.pipeline.scaling import Scale
from mmjax.data.readers import audio_file, by_kind, video_file
from mmjax.data.readers.content import Content, is_content, named
from mmjax.errors import UserError
from mmjax.types import Input


def read_sounds(
    values: Sequence[Any], *, name: str, samples: int, rate: int, cut: bool = False
) -> Input:
    """Sound files, or float arrays [S] at `rate` -> float32 [B samples].

    A file is a path, bytes, or open; a video gives its first audio track. What is shorter is masked
    behind its end, None as a whole. Files are resampled and their channels averaged.

    Args:
        values: one or None for each example.
        name: of the modality, for messages.
        samples: of a row.
        rate: of the model, in Hz.
        cut: whether what is longer is cut off; else it is an error.

    Raises:
        UserError: a file that cannot be read, an array that is no sound, NaN or infinite samples in
            either, or more samples than the model takes, unless they are cut.
    """
    rows = np.zeros((len(values), samples), np.float32)
    there = np.zeros(rows.shape, bool)
    for i, value in enumerate(values):
        if value is None:
            continue
        is_file = is_content(value)
        where = f"{name}: array {i + 1} of its batch"
        sound = read_file(value, rate) if is_file else _check(value, name, samples, where)
        what = (
            value if isinstance(value, (str, os.PathLike)) else "a file" if is_file else "an array"
        )
        if not np.isfinite(sound).all():
            place = int(np.argmin(np.isfinite(sound)))
            raise UserError(f"{name}: {what} holds {sound[place]} at sample {place}: mend it")
        if len(sound) > samples and not cut:
            raise UserError(
                f"{name}: {what} has {len(sound)} samples at {rate} Hz,"
                f" the model takes {samples}: cut it"
            )
        sound = sound[:samples]
        rows[i, : len(sound)], there[i, : len(sound)] = sound, True
    return Input(rows, there)


def read_steps(
    values: Sequence[Any],
    *,
    name: str,
    shape: tuple[int, ...],
    dtype: Any,
    scale: Scale | None = None,
    cut: bool = False,
) -> Input:
    """Arrays [T ...] of a series or video -> [B *shape]; steps behind the end of one are masked.

    So are steps without any number; see `mmjax.data.readers.by_kind.read_arrays`.

    Args:
        values: one or None for each example.
        name: of the modality, for messages.
        shape, dtype: of the longest that the model takes; T is its first axis.
        scale: of its features in training, if they are scaled.
        cut: whether what is longer is cut off; else it is an error.

    Raises:
        UserError: more steps, another shape, not numbers, or numbers that `dtype` cannot hold.
    """
    arrays: list[np.ma.MaskedArray | None] = []
    for value in values:
        if value is None:
            arrays.append(None)
            continue
        array, real = by_kind.numbers_of(value, name)
        array, real = (array[: shape[0]], real[: shape[0]]) if cut else (array, real)
        if array.shape[1:] == shape[1:] and array.ndim == len(shape):
            rest = ((0, max(shape[0] - len(array), 0)), *((0, 0) for _ in shape[1:]))
            array, real = np.pad(array, rest), np.pad(real, rest)
        arrays.append(np.ma.array(array, mask=~real))
    return by_kind.read_arrays(
        arrays, name=name, shape=shape, dtype=dtype, masked_axes=1, scale=scale
    )


def read_videos(values: Sequence[Any], *, name: str, shape: tuple[int, int, int, int]) -> Input:
    """Video files, or uint8 arrays [T H W 3] of the model's size -> uint8 [B *shape].

    A file is a path, bytes, or open; its pictures are spread evenly over its time and resized, see
    `mmjax.data.readers.video_file.read`. What is shorter is masked behind its end.

    Args:
        values: one or None for each example.
        name: of the modality, for messages.
        shape: of the longest that the model takes, [T H W 3].

    Raises:
        UserError: a file that cannot be read, or an array as of `read_steps`.
    """
    arrays: list[Any] = []
    for value in values:
        if is_content(value):
            clip = video_file.read(value, shape[0], shape[1:3])
            value = clip.pixels[clip.mask]
        arrays.append(value)
    return read_steps(arrays, name=name, shape=shape, dtype=np.uint8)


def read_file(
    value: Content, rate: int, start: float = 0.0, duration: float | None = None
) -> Float32[np.ndarray, " S"]:
    """A sound file, or the sound of a video, as one channel at `rate` Hz.

    Args:
        value: a path, the bytes of a file, or a file that is open for reading bytes.
        rate: in Hz.
        start, duration: of a part, in seconds, the only one that is decoded; None: to the end.

    Raises:
        UserError: it is missing, no sound, too long, or has samples that are no numbers; or a
            package that decodes it is not installed.
    """
    from scipy.signal import resample_poly  # slow to import

    sound, stored = audio_file.read(value, start, duration)
    sound = finite(sound, named("sound file", value))
    resampled = sound if stored == rate or not sound.size else resample_poly(sound, rate, stored)
    return np.ascontiguousarray(resampled, np.float32)


def seconds_of(value: Any, rate: int) -> float:
    """How long a sound is: a file, or an array [S] at `rate` Hz; raises as `read_file`."""
    if is_content(value):
        sound, rate = audio_file.read(value)
        return len(sound) / rate
    return len(value) / rate


def finite(sound: Float[np.ndarray, " S"], name: str) -> Float32[np.ndarray, " S"]:
    """A sound in float32; `name` is for messages.

    Raises:
        UserError: a sample is NaN or infinite there.
    """
    with np.errstate(over="ignore"):
        sound = np.ascontiguousarray(sound, np.float32)
    if not np.isfinite(sound).all():
        raise UserError(f"{name} has NaN or infinite samples: mend the sound or leave it out")
    return sound


def _check(value: Any, name: str, samples: int, place: str) -> Float32[np.ndarray, " S"]:
    array = np.asarray(value)
    if array.ndim != 1 or array.dtype.kind not in "biuf":
        raise UserError(
            f"{name}: expected float32 numbers of shape [{samples}] or fewer, or the path of a"
            f" sound file, got {array.dtype} of shape {list(array.shape)}"
        )
    if array.dtype.kind != "f":
        raise UserError(
            f"{name}: expected a waveform with values -1 to 1, got {array.dtype} (int16 samples:"
            " divide by 32768)"
        )
    return finite(array, place)

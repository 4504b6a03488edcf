"""Files of sounds: one channel of samples or one line, and no more than a stated memory.

soundfile decodes WAV (8, 16, 24, 32 bits and float), FLAC, OGG/Vorbis, Opus, MP3, AIFF and others;
PyAV the first audio track of videos, and AAC. Channels are averaged. What a header says of the
length of a sound may be anything; the file's own size and `audio_limits` bound what is read.
"""

import importlib.util
from typing import Any

import numpy as np
from jaxtyping import Float32

from mmjax.data.readers import audio_limits, audio_track, container
from mmjax.data.readers.content import Content, named, opened, path_of
from mmjax.errors import UserError, decoding

BLOCK = 2**18  # samples at a time, in all channels
# The most samples in a byte of a file: silence is a frame of few bytes in the first.
PACKED, PLAIN = 2**13, 16
PACKERS = ("FLAC", "OGG", "MP3", "ALAC", "MPEG")
ADVICE = "pass an intact WAV, FLAC, OGG, MP3 or similar file"


def read(
    value: Content, start: float = 0.0, duration: float | None = None
) -> tuple[Float32[np.ndarray, " S"], int]:
    """The samples of a file, with its channels averaged, and its rate in Hz.

    Args:
        value: a path, the bytes of a file, or a file that is open for reading bytes.
        start: in seconds; what is before it is skipped, not decoded, where the format can seek.
        duration: in seconds; None: to the end. A sound that ends earlier is shorter.

    Raises:
        UserError: no file, no sound, a damaged one, one of a rate out of RATES, more than
            `audio_limits` allow, a start behind the end or below 0, or a package is missing.
    """
    name = named("sound file", value)
    audio_limits.check_part(name, start, duration)
    with opened(value, f"{name} cannot be read") as file:
        head = file.read(container.HEAD)
        size = file.seek(0, 2)
        file.seek(0)
        if container.is_container(head):
            with decoding(f"{name} cannot be read", container.ADVICE):
                return audio_track.read(file, name, start, duration)
        if importlib.util.find_spec("soundfile") is None:
            raise UserError(f"{name}: sound files need soundfile; run: pip install soundfile")
        import soundfile

        path = path_of(value)
        with (
            decoding(f"{name} cannot be read", ADVICE),
            soundfile.SoundFile(file if path is None else path) as sound,
        ):
            _check(sound, size, name)
            return _samples(sound, name, start, duration), sound.samplerate


def _samples(
    sound: Any, name: str, start: float, duration: float | None
) -> Float32[np.ndarray, " S"]:
    rate, frames = sound.samplerate, sound.frames
    first, wanted = round(start * rate), audio_limits.most(rate) + 1
    if duration is not None:
        wanted = min(wanted, max(1, round(duration * rate)))
    audio_limits.check_count(name, min(wanted, frames - first), rate)
    if first:
        audio_limits.check_start(name, start, frames / rate)
        sound.seek(min(first, frames - 1))
    blocks, count = [], 0
    size = max(1, BLOCK // sound.channels)
    while count < wanted and len(
        block := sound.read(min(size, wanted - count), "float32", always_2d=True)
    ):
        count += len(block)
        audio_limits.check_count(name, count, rate)
        blocks.append(block.mean(axis=1))
    return np.concatenate(blocks) if blocks else np.zeros(0, np.float32)


def _check(sound: Any, size: int, name: str) -> None:
    audio_limits.check_rate(name, sound.samplerate)
    packed = sound.format in PACKERS or sound.subtype.startswith(PACKERS)
    if sound.frames > size * (PACKED if packed else PLAIN):
        raise UserError(
            f"{name}: says it has {sound.frames} samples, which its {size} bytes cannot"
            f" hold; {ADVICE}"
        )

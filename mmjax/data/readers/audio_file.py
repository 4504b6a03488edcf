"""Files of sounds, decoded with soundfile: samples or one line, and no more than a stated memory.

What a header says of a sound's length may be anything; the file's own size and MOST_SAMPLES bound
what is read.
"""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from mmjax.errors import UserError, decoding

MOST_SAMPLES = 2**28  # 1 GiB: 4.6 hours at 16 kHz
RATES = (1_000, 768_000)  # Hz; resampling from others takes a filter of any length
BLOCK = 2**18  # samples at a time, in all channels
# The most samples in a byte of a file: silence is a frame of few bytes in the first.
PACKED, PLAIN = 2**13, 16
PACKERS = ("FLAC", "OGG", "MP3", "ALAC", "MPEG")
ADVICE = "pass an intact WAV, FLAC, OGG, MP3 or similar file"


def read(path: Path) -> tuple[Float32[np.ndarray, " S"], int]:
    """The samples of a file, with its channels averaged, and its rate in Hz.

    Raises:
        UserError: no file, no sound, a damaged one, or one of more than MOST_SAMPLES or of a rate
            out of RATES.
    """
    import soundfile

    if not path.is_file():
        raise UserError(f"sound file {path} cannot be read: no such file")
    with decoding(f"sound file {path} cannot be read", ADVICE), soundfile.SoundFile(path) as file:
        _check(file, path)
        blocks, count = [], 0
        while len(block := file.read(max(1, BLOCK // file.channels), "float32", always_2d=True)):
            count += len(block)
            if count > MOST_SAMPLES:
                raise _too_long(path, count)
            blocks.append(block.mean(axis=1))
        return np.concatenate(blocks) if blocks else np.zeros(0, np.float32), file.samplerate


def _check(file: Any, path: Path) -> None:
    if not RATES[0] <= file.samplerate <= RATES[1]:
        raise UserError(
            f"sound file {path}: has {file.samplerate} samples a second, not {RATES[0]} to"
            f" {RATES[1]}; {ADVICE}"
        )
    packed = file.format in PACKERS or file.subtype.startswith(PACKERS)
    size = path.stat().st_size
    if file.frames > size * (PACKED if packed else PLAIN):
        raise UserError(
            f"sound file {path}: says it has {file.frames} samples, which its {size} bytes cannot"
            f" hold; {ADVICE}"
        )
    if file.frames > MOST_SAMPLES:
        raise _too_long(path, file.frames)


def _too_long(path: Path, count: int) -> UserError:
    return UserError(
        f"sound file {path}: has {count} samples or more, over {MOST_SAMPLES}: cut it into pieces"
    )

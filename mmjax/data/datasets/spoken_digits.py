"""Spoken digits, made by the speech synthesiser eSpeak NG (package espeakng-loader, GPL-3).

python -m mmjax.data.datasets.spoken_digits FILE.npz   (synthesises all clips; `spoken_digits` does
it at first use)

One process synthesises all clips in a fixed order: a fresh process repeats them bit for bit, which
the same process would not.
"""

import ctypes
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from mmjax.errors import UserError

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
RATE = 8000  # Hz
SAMPLES = 4800  # 0.6 s
SPEEDS = (150, 190, 230)  # words a minute
# Variants of the voice en-us. Robots and whispers are left out, and voices with breath noise, which
# is drawn anew in every process.
VOICES = """
adam Alex Andrea Andy anika Annie announcer antonio aunty belinda benjamin boris caleb david
Denis Diogo ed edward f1 f4 Gene grandma grandpa gustave Henrique Hugo ian iven Jacky john
kaukovalta Lee linda m1 m2 m3 m4 m5 m6 m7 m8 marcelo Marco Mario max michel miguel Mike
norbert pablo paul pedro quincy Reed rob robert shelby steph travis zac
"""


def _synthesiser():
    """A function (voice, text, words a minute) -> int16 samples, and their rate in Hz."""
    import espeakng_loader

    library = ctypes.CDLL(espeakng_loader.get_library_path())
    rate = library.espeak_Initialize(2, 0, espeakng_loader.get_data_path().encode(), 0)
    heard: list[np.ndarray] = []

    @ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
    def collect(samples, count, events):
        del events
        if samples and count > 0:
            heard.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    library.espeak_SetSynthCallback(collect)

    def synthesise(voice: str, text: str, speed: int) -> np.ndarray:
        heard.clear()
        if library.espeak_SetVoiceByName(f"en-us+{voice}".encode()):
            raise UserError(f"eSpeak NG has no voice {voice!r}: install espeakng-loader==0.2.4")
        library.espeak_SetParameter(1, speed, 0)
        line = text.encode()
        library.espeak_Synth(line, len(line) + 1, 0, 1, 0, 1, None, None)
        library.espeak_Synchronize()
        return np.concatenate(heard)

    synthesise.keep = collect  # the library calls it: it must live as long as this function
    return synthesise, rate


def trim(samples: np.ndarray, threshold: float = 0.02) -> np.ndarray:
    """Without the quiet before the first and after the last sample above a share of the peak."""
    loud = np.flatnonzero(np.abs(samples) > threshold * np.abs(samples).max())
    return samples[loud[0] : loud[-1] + 1] if len(loud) else samples[:0]


def synthesise_all(path: Path) -> None:
    """Writes clips float16 [n S], their lengths, digits and voices; whole or not at all."""
    from scipy.signal import resample_poly  # slow to import

    synthesise, rate = _synthesiser()
    clips, rows = [], []
    for number, voice in enumerate(VOICES.split()):
        for speed in SPEEDS:
            for digit, word in enumerate(WORDS):
                sound = synthesise(voice, word, speed).astype(np.float32) / 2**15
                sound = trim(resample_poly(sound, RATE, rate).clip(-1, 1))[:SAMPLES]
                clips.append(np.pad(sound, (0, SAMPLES - len(sound))).astype(np.float16))
                rows.append((len(sound), digit, number))
    lengths, digits, voices = np.array(rows, np.int32).T
    part = path.with_suffix(f".{os.getpid()}.part.npz")
    np.savez_compressed(part, clips=np.stack(clips), lengths=lengths, digits=digits, voices=voices)
    part.replace(path)


def spoken_digits(directory: Path) -> dict[str, np.ndarray]:
    """`clips` float32 [n 4800] at 8 kHz in -1..1, `lengths` in samples, `digits` and `voices`.

    Synthesised into `directory` at first use.

    Raises:
        UserError: the synthesiser is not installed or fails, or the file cannot be read.
    """
    path = directory / "spoken_digits" / "1.npz"
    if not path.exists():
        if importlib.util.find_spec("espeakng_loader") is None:
            raise UserError("spoken digits need eSpeak NG; run: pip install espeakng-loader==0.2.4")
        path.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "mmjax.data.datasets.spoken_digits", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise UserError(f"spoken digits cannot be synthesised into {path}: {reason}")
    try:
        with np.load(path) as file:
            arrays = dict(file)
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise UserError(f"{path} cannot be read ({error}); delete it to make it anew") from error
    return arrays | {"clips": arrays["clips"].astype(np.float32)}


if __name__ == "__main__":
    synthesise_all(Path(sys.argv[1]))

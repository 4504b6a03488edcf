"""Writes a CSV of pictures, sounds and short videos: handwritten, spoken and moving digits.

python experiments/own/media.py digits.png RECORDINGS FOLDER [--rows=1500]

digits.png is of the Debian package opencv-doc, RECORDINGS that of the Free Spoken Digit
Dataset. A row is about one digit: a picture of it (20 x 20), a recording, and a video of twelve
pictures in which another one of it crosses the scene. A third of each is missing, but never all,
and noise makes each harder. No picture is in two splits; of the voices theo is for validation,
george for the test.
"""

import argparse
import csv
from pathlib import Path

import av
import numpy as np
import PIL.Image
import soundfile

VOICES = {"validation": ("theo",), "test": ("george",)}
SHARES = {"train": 0.8, "validation": 0.1, "test": 0.1}
FRAMES, SIDE, SHIFT = 12, 32, 10


def cells(path: str) -> np.ndarray:
    """The digits of the picture, uint8 [10 500 20 20]."""
    image = np.asarray(PIL.Image.open(path).convert("L"))
    tiles = image.reshape(50, 20, 100, 20).transpose(0, 2, 1, 3)
    return tiles.reshape(10, 500, 20, 20)


def noisy(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """With normal noise of a deviation of 90 grey levels."""
    return np.clip(image + rng.normal(0, 90, image.shape), 0, 255).astype(np.uint8)


def write_video(path: Path, digit: np.ndarray, rng: np.random.Generator) -> None:
    """A digit that crosses a noisy scene, as MPEG-4."""
    away = int(rng.integers(SIDE - 20 + 1))
    places = np.linspace(-SHIFT, SIDE - SHIFT, FRAMES).astype(int)[:: rng.choice((1, -1))]
    with av.open(str(path), "w") as file:
        stream = file.add_stream("mpeg4", rate=6)
        stream.width = stream.height = SIDE
        stream.pix_fmt = "yuv420p"
        for place in places:
            wide = np.zeros((SIDE, SIDE + 40), np.uint8)
            wide[away : away + 20, place + 20 : place + 40] = digit
            frame = noisy(wide[:, 20:-20], rng)
            picture = av.VideoFrame.from_ndarray(np.repeat(frame[..., None], 3, -1), "rgb24")
            file.mux(stream.encode(picture))
        file.mux(stream.encode())


def write_sound(path: Path, source: Path, rng: np.random.Generator) -> None:
    """A recording with noise as loud as it is."""
    sound, rate = soundfile.read(source)
    sound = sound / max(np.sqrt(np.mean(sound**2)), 1e-6)
    soundfile.write(path, 0.1 * (sound + rng.normal(size=len(sound))), rate, subtype="PCM_16")


def main() -> None:
    """Reads the command line and writes the files."""
    parser = argparse.ArgumentParser()
    parser.add_argument("digits")
    parser.add_argument("recordings")
    parser.add_argument("folder")
    parser.add_argument("--rows", type=int, default=1500)
    given = parser.parse_args()
    digits, folder, rng = cells(given.digits), Path(given.folder), np.random.default_rng(0)
    voices = {path: path.stem.split("_")[1] for path in Path(given.recordings).glob("*.wav")}
    taken = [voice for some in VOICES.values() for voice in some]
    folder.mkdir(parents=True)
    ends = dict(zip(SHARES, np.cumsum([int(500 * s) for s in SHARES.values()]), strict=True))
    rows = []
    for i in range(given.rows):
        split = str(rng.choice(list(SHARES), p=list(SHARES.values())))
        digit = int(rng.integers(10))
        places = rng.integers(ends[split] - int(500 * SHARES[split]), ends[split], 2)
        own = [
            path
            for path in sorted(voices)
            if path.stem.startswith(f"{digit}_")
            and (voices[path] in VOICES[split] if split in VOICES else voices[path] not in taken)
        ]
        there = rng.random(3) > 1 / 3
        there[rng.integers(3)] |= not there.any()
        row = {"picture": "", "sound": "", "film": "", "digit": f"digit {digit}", "split": split}
        if there[0]:
            row["picture"] = f"{i}.png"
            image = noisy(digits[digit, places[0]], rng)
            PIL.Image.fromarray(image).save(folder / row["picture"])
        if there[1]:
            row["sound"] = f"{i}.wav"
            write_sound(folder / row["sound"], own[int(rng.integers(len(own)))], rng)
        if there[2]:
            row["film"] = f"{i}.mp4"
            write_video(folder / row["film"], digits[digit, places[1]], rng)
        rows.append(row)
    with (folder / "media.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()

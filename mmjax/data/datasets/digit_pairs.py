"""A written and a spoken digit of the same class: which is it? Either may be noisy.

Pictures: 1,797 digits of 8 x 8 pixels that come with scikit-learn (the test half of "Optical
recognition of handwritten digits", https://doi.org/10.24432/C50P49). Speech: real recordings of six
people, see `mmjax.data.datasets.spoken_numbers`. They are put together by class alone, so given the
class a picture says nothing of a recording.
"""

from pathlib import Path

import numpy as np

from mmjax.data.datasets.spoken_numbers import RATE, find_folder, read_all
from mmjax.data.sources.arrays import Arrays
from mmjax.data.sources.targets import Target
from mmjax.errors import UserError

NAME = "digit_pairs"
LOUDNESS = 0.1  # root mean square of each recording without noise
CLASSES = tuple(map(str, range(10)))
# The pictures lie in the file sheet after sheet, of about 130 digits that begin in the same order,
# as each writer filled them in: eight sheets, two and four.
PICTURES = {"train": (0, 1029), "validation": (1029, 1287), "test": (1287, 1797)}


def digit_pairs(
    *,
    dir: str,  # noqa: A002
    seed: int = 0,
    recordings: str = "",
    fold: int = 0,
    snr: float | None = None,
    blur: float = 0.0,
    seconds: float = 0.6,
    train: int = 2000,
    validation: int = 1000,
    test: int = 2000,
) -> dict[str, Arrays]:
    """The splits train, validation and test: image uint8 [8 8 3], audio float32 [samples] at 8 kHz.

    The splits share no voice, and no sheet of pictures. Of the six voices in alphabetical order
    number `fold` is for the test, the next one for validation, and the others are for training.
    Classes are uniform. Recordings are equally loud (a root mean square of 0.1, so that few samples
    are beyond -1..1). Noise is drawn once for each picture and each recording.

    The recordings: git clone https://github.com/Jakobovski/free-spoken-digit-dataset DIR

    Args:
        dir: the data directory.
        seed: of what goes together, and of the noise.
        recordings: DIR above; "" for "free-spoken-digit-dataset" in the data directory.
        fold: which voices are held out.
        snr: of the white noise in a recording, the power of the speech over that of the noise, in
            dB; None adds none.
        blur: the standard deviation of the noise in a picture, where 1 is from black to white.
        seconds: of a recording; what is longer is cut, what is shorter is masked.
        train, validation, test: number of pairs.

    Raises:
        UserError: no recordings, or an option that cannot be.
    """
    speakers, _, source = read_all(find_folder(Path(dir).expanduser(), recordings, NAME))
    if len(speakers) < len(PICTURES):
        raise UserError(f"{NAME}: recordings of {len(speakers)} voices: {len(PICTURES)} are needed")
    if not 0 <= fold < len(speakers):
        raise UserError(
            f"{NAME}: fold={fold}: give 0 to {len(speakers) - 1}, one of {', '.join(speakers)}"
        )
    lengths = {"train": train, "validation": validation, "test": test}
    samples = round(seconds * RATE)
    if blur < 0 or samples < RATE // 10 or min(lengths.values()) < 1:
        raise UserError(
            f"{NAME}: blur={blur}, seconds={seconds}, {lengths}: give a blur of 0 or more, 0.1"
            " seconds or more, and 1 pair or more to each split"
        )
    rng = np.random.default_rng((seed, len(lengths)))
    pictures, shown = _pictures(blur, rng)
    sounds, real = _sounds(source.pieces, samples, snr, rng)
    voices = {"test": {fold}, "validation": {(fold + 1) % len(speakers)}}
    voices["train"] = {*range(len(speakers))} - voices["test"] - voices["validation"]
    splits = {}
    for number, (split, length) in enumerate(lengths.items()):
        rng = np.random.default_rng((seed, number))
        labels = rng.permutation(np.arange(length, dtype=np.int32) % len(CLASSES))
        start, end = PICTURES[split]
        seen = (np.arange(len(shown)) >= start) & (np.arange(len(shown)) < end)
        heard = np.isin(source.owners, list(voices[split]))
        index = {
            "image": _of_class(labels, np.where(seen, shown, -1), rng),
            "audio": _of_class(labels, np.where(heard, source.digits, -1), rng),
        }
        splits[split] = Arrays(
            name=f"{NAME}/{split}",
            values={"image": pictures, "audio": sounds},
            masks={"image": np.ones(len(pictures), bool), "audio": real},
            index=index,
            targets={"label": Target(labels, CLASSES)},
            slice_ids=np.zeros(length, np.int32),
            slices=("all",),
        )
    return splits


def _of_class(labels: np.ndarray, classes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """For each label a row of that class, drawn evenly."""
    index = np.zeros(len(labels), np.int64)
    for label in np.unique(labels):
        index[labels == label] = rng.choice(np.flatnonzero(classes == label), sum(labels == label))
    return index


def _pictures(blur: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import load_digits  # half a second that other data sets need not pay

    digits = load_digits()
    grey = digits.images / 16 + blur * rng.normal(size=digits.images.shape)
    small = (255 * grey).round().clip(0, 255).astype(np.uint8)
    return small[..., None].repeat(3, -1), digits.target


def _sounds(
    pieces: list[np.ndarray], samples: int, snr: float | None, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Recordings [n samples], equally loud, with noise where they are real, and where they are."""
    values = np.zeros((len(pieces), samples), np.float32)
    for row, piece in zip(values, pieces, strict=True):
        row[: len(piece)] = piece[:samples]
    real = np.arange(samples) < np.array([len(piece) for piece in pieces])[:, None]
    power = (values**2).sum(axis=1, keepdims=True) / real.sum(axis=1, keepdims=True)
    values *= LOUDNESS / np.sqrt(power.clip(1e-12))
    if snr is not None:
        noise = rng.normal(size=values.shape).astype(np.float32)
        values += real * LOUDNESS * np.float32(10 ** (-snr / 20)) * noise
    return values, real

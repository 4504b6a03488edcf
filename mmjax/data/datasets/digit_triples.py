"""A handwritten digit, a spoken digit and a number word, each a digit of its own: which are they?

Three tasks on one example that have nothing to do with each other: the digits are drawn
independently, so that no modality says anything of another's. All are real, and nobody is in two
splits: the test has pictures, voices and languages that were never seen or heard in training.

Pictures: 1,797 digits of 8 x 8 pixels by 13 writers, which come with scikit-learn (the test half of
"Optical recognition of handwritten digits", https://doi.org/10.24432/C50P49). Writers have no names
there, but the file has one after the other. Speech: 3,000 recordings of six people, see
`mmjax.data.datasets.spoken_numbers`. Words: `mmjax.data.datasets.number_words`.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mmjax.data.datasets import number_words
from mmjax.data.datasets.joined_digits import Digits
from mmjax.data.datasets.spoken_numbers import RATE, find_folder, read_all
from mmjax.data.sources.arrays import Arrays
from mmjax.data.sources.targets import Target
from mmjax.errors import UserError, nearest

NAME = "digit_triples"
MODALITIES = ("image", "audio", "text")
TASKS = {"image": "written", "audio": "spoken", "text": "read"}  # what each is asked for
SPLITS = ("train", "validation", "test")
DIGITS = tuple(map(str, range(10)))
SIDE = 8  # of a picture in the file, in pixels
FOLDS = 6  # as many as there are voices
SECONDS = 0.8  # of speech: the longest 2 % of the recordings are cut


class Items(NamedTuple):
    """All that there is of a modality.

    part: `values` or `texts`, and `masks`, of Arrays, by item.
    digits: of each item.
    folds: int, whose it is, in 0..FOLDS-1.
    """

    part: Mapping[str, Any]
    digits: np.ndarray
    folds: np.ndarray


def pictures(size: int) -> Items:
    """uint8 [size size 3], with pixels repeated; a fold is a sixth of the file, about two
    writers."""
    from sklearn.datasets import load_digits  # half a second that other data sets need not pay

    digits = load_digits()
    small = (digits.images * (255 / 16)).round().astype(np.uint8)
    large = small.repeat(size // SIDE, 1).repeat(size // SIDE, 2)[..., None].repeat(3, -1)
    part = {"values": large, "masks": np.ones(len(large), bool)}
    return Items(part, digits.target, np.arange(len(large)) * FOLDS // len(large))


def recordings(directory: str, given: str) -> Items:
    """float32 [6400], 0.8 s at 8 kHz; a fold is a voice."""
    _, _, spoken = read_all(find_folder(Path(directory).expanduser(), given))
    return padded(spoken, round(SECONDS * RATE))


def padded(spoken: Digits, samples: int) -> Items:
    """Recordings of one length: longer ones are cut, shorter ones masked behind their end."""
    lengths = np.array([min(len(piece), samples) for piece in spoken.pieces])
    values = np.zeros((len(lengths), samples), np.float32)
    for row, (piece, length) in enumerate(zip(spoken.pieces, lengths, strict=True)):
        values[row, :length] = piece[:length]
    part = {"values": values, "masks": np.arange(samples) < lengths[:, None]}
    return Items(part, spoken.digits, spoken.owners % FOLDS)


def words() -> Items:
    """Words letter by letter, such as "f o u r"; a fold is every sixth of the languages, in an
    order in which related ones are neighbours."""
    rows = [
        (" ".join(word), digit, number % FOLDS)
        for number, numbers in enumerate(number_words.forms().values())
        for digit, forms in enumerate(numbers)
        for word in forms
    ]
    texts, digits, folds = zip(*rows, strict=True)
    return Items({"texts": list(texts)}, np.array(digits), np.array(folds))


def digit_triples(
    *,
    dir: str,  # noqa: A002
    seed: int = 0,
    modalities: Sequence[str] = MODALITIES,
    fold: int = 0,
    image_size: int = 16,
    recordings_in: str = "",
    train: int = 0,
) -> dict[str, Arrays]:
    """The splits train, validation and test: image uint8 [size size 3], audio float32 [6400] at 8
    kHz, text, letters with spaces between them; targets written, spoken and read, their digits.

    Each split holds a sixth of the writers, voices and languages, training four sixths. A word that
    is spelled the same in a language of training is no word of the other splits. In validation and
    test every picture, recording and word is asked for once, beside others at random.

    The recordings: git clone https://github.com/Jakobovski/free-spoken-digit-dataset DIR

    Args:
        dir: the data directory.
        seed: of what goes together in an example.
        modalities: of an example, some of MODALITIES. One: nothing is put together.
        fold: whose sixth the test is, 0 to 5; the next is for validation.
        image_size: the side of pictures in pixels, a multiple of 8.
        recordings_in: DIR above; "" for "free-spoken-digit-dataset" in the data directory.
        train: examples of training, drawn at random; 0: as many as make up the largest modality,
            each item of which comes once.

    Raises:
        UserError: no recordings, a modality or a fold that is not there, or a negative number.
    """
    names = (modalities,) if isinstance(modalities, str) else tuple(dict.fromkeys(modalities))
    for name in names or ("",):
        if name not in MODALITIES:
            raise UserError(f"{NAME}: modalities: {name!r}: {nearest(name, MODALITIES)}")
    if not 0 <= fold < FOLDS or train < 0:
        raise UserError(
            f"{NAME}: fold={fold}, train={train}: give a fold of 0 to {FOLDS - 1}, and 0 examples"
            " or more"
        )
    if image_size < SIDE or image_size % SIDE:
        raise UserError(f"{NAME}: image_size={image_size}: give a multiple of {SIDE}")
    readers: Mapping[str, Callable[[], Items]] = {
        "image": lambda: pictures(image_size),
        "audio": lambda: recordings(dir, recordings_in),
        "text": words,
    }
    items = {name: readers[name]() for name in names}
    parts = {"test": (fold,), "validation": ((fold + 1) % FOLDS,)}
    parts["train"] = tuple({*range(FOLDS)} - {fold, *parts["validation"]})
    splits = {}
    for number, split in enumerate(SPLITS):
        rng = np.random.default_rng((seed, number))
        chosen = {name: _of_split(of, parts, split) for name, of in items.items()}
        length = max(map(len, chosen.values()))
        if split == "train" and train:
            length = train
        columns: dict[str, dict[str, Any]] = {"values": {}, "masks": {}, "texts": {}}
        index, targets = {}, {}
        for name, rows in chosen.items():
            for part, column in items[name].part.items():
                columns[part][name] = _taken(column, rows)
            index[name] = _in_turn(len(rows), length, rng)
            first = None if split == "train" else np.arange(length) < len(rows)
            digits = items[name].digits[rows][index[name]]
            targets[TASKS[name]] = Target(digits, DIGITS, first)
        splits[split] = Arrays(
            name=f"{NAME}/{split}",
            **columns,
            targets=targets,
            slice_ids=np.zeros(length, np.int32),
            slices=("all",),
            index=index,
        )
    return splits


def _of_split(of: Items, parts: Mapping[str, tuple[int, ...]], split: str) -> np.ndarray:
    """The items of a split; of texts each spelling once, and none that an earlier split has."""
    if "texts" not in of.part:
        return np.flatnonzero(np.isin(of.folds, parts[split]))
    found: dict[str, tuple[str, int]] = {}  # where each spelling comes first
    for name in SPLITS:
        for item in np.flatnonzero(np.isin(of.folds, parts[name])):
            found.setdefault(of.part["texts"][item], (name, item))
    return np.array([item for name, item in found.values() if name == split])


def _taken(column: Any, rows: np.ndarray) -> Any:
    return column[rows] if isinstance(column, np.ndarray) else [column[row] for row in rows]


def _in_turn(count: int, length: int, rng: np.random.Generator) -> np.ndarray:
    """So many numbers below `count`: all of them in random order, again and again."""
    turns = [rng.permutation(count) for _ in range(-(-length // count))]
    return np.concatenate(turns)[:length]

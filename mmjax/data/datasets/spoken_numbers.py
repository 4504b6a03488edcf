"""Spoken numbers of two to five digits, joined from real recordings of single ones.

The Free Spoken Digit Dataset (Jackson et al. 2018, https://doi.org/10.5281/zenodo.1342401, CC BY-SA
4.0): six people, each of whom says each English digit 50 times; 8 kHz. Nothing is synthesised; what
is made here is only which recordings follow each other, and the silence between them.
"""

import importlib.util
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mmjax.data.datasets.joined_digits import Digits, join
from mmjax.data.readers.lengths import finite
from mmjax.data.sources.arrays import Arrays
from mmjax.data.sources.targets import Target
from mmjax.errors import UserError

NAME = "spoken_numbers"
RATE = 8000  # Hz
FOLDER = "free-spoken-digit-dataset"
KNOWN, NEW = "known voice", "new voice"
SLICES = (KNOWN, NEW)
GAP = (0.05, 0.25)  # seconds of silence between two digits
_FILE = re.compile(r"(?P<digit>\d)_(?P<speaker>[a-z]+)_(?P<take>\d+)")
_EVERY = range(10_000)
TAKES = {"train": _EVERY[10:], "validation": _EVERY[5:10], "test": _EVERY[:5]}


def spoken_numbers(
    *,
    dir: str,  # noqa: A002
    seed: int = 0,
    recordings: str = "",
    new_voices: Sequence[str] = ("george",),
    seconds: float = 3.5,
    fewest: int = 2,
    most: int = 5,
    louder: float = 0.0,
    train: int = 3000,
    validation: int = 300,
    test: int = 300,
) -> dict[str, Arrays]:
    """The splits train, validation and test: speech float32 [samples] at 8 kHz in -1..1, and text,
    such as "seven three one".

    All digits of a number are of one speaker, and no recording is in two splits: of each digit the
    takes 0 to 4 are for the test (as the data set has it) and 5 to 9 for validation. `new_voices`
    are heard in the test only, with all their takes; there the slice says which numbers are theirs.
    The label is how many digits a number has.

    The recordings: git clone https://github.com/Jakobovski/free-spoken-digit-dataset DIR

    Args:
        dir: the data directory.
        seed: of what goes together.
        recordings: DIR above; "" for "free-spoken-digit-dataset" in the data directory.
        new_voices: speakers that are not heard in training.
        seconds: of the speech; what is shorter is masked. Numbers that would be longer, those of
            slow speakers, have fewer digits.
        fewest, most: digits in a number.
        louder: in training a number is made louder or softer by up to so many dB.
        train, validation: number of examples.
        test: number of examples, of known voices and of new ones each.

    Raises:
        UserError: no recordings, an unknown speaker, or an option that cannot be.
    """
    samples = round(seconds * RATE)
    if not 1 <= fewest <= most or not 0 <= louder <= 60 or samples < RATE:
        raise UserError(
            f"{NAME}: fewest={fewest}, most={most}, louder={louder}, seconds={seconds}: give 1"
            " digit or more, 0 to 60 dB, and 1 second or more"
        )
    folder = find_folder(Path(dir).expanduser(), recordings)
    speakers, takes, source = read_all(folder)
    new_voices = (new_voices,) if isinstance(new_voices, str) else tuple(new_voices)
    unknown = sorted({*new_voices} - {*speakers})
    if unknown or len({*new_voices}) == len(speakers):
        raise UserError(
            f"{NAME}: new_voices={new_voices}: choose some of {', '.join(speakers)}, not all"
        )
    new = tuple(speakers.index(name) for name in dict.fromkeys(new_voices))
    old = tuple(i for i in range(len(speakers)) if i not in new)
    gaps = (round(GAP[0] * RATE), round(GAP[1] * RATE))
    options = {"length": samples, "fewest": fewest, "most": most, "gaps": gaps}
    splits = {}
    for number, (split, count) in enumerate(
        {"train": train, "validation": validation, "test": test}.items()
    ):
        rng = np.random.default_rng((seed, number))
        parts = [(old, TAKES[split]), (new, _EVERY)][: 2 if split == "test" and new else 1]
        made = [
            join(source.of(np.isin(takes, allowed)), owners, rng, count=count, **options)
            for owners, allowed in parts
        ]
        values = np.concatenate([part.values for part in made])
        if split == "train" and louder:
            # Never beyond full scale, where a recording would be cut.
            loudest = np.abs(values).max(axis=1, keepdims=True).clip(1e-3)
            decibels = rng.uniform(-louder, louder, loudest.shape)
            values *= np.minimum(10 ** (decibels / 20), 1 / loudest).astype(np.float32)
        splits[split] = Arrays(
            name=f"{NAME}/{split}",
            values={"speech": values},
            masks={"speech": np.concatenate([part.mask for part in made])},
            texts={"text": [text for part in made for text in part.texts]},
            targets={
                "label": Target(
                    np.concatenate([part.counts for part in made]),
                    tuple(map(str, range(most + 1))),
                )
            },
            slice_ids=np.isin(np.concatenate([part.owners for part in made]), new).astype(np.int32),
            slices=SLICES,
        )
    return splits


def find_folder(root: Path, given: str = "", name: str = NAME) -> Path:
    """The folder of the recordings: the given one, or the one below the data directory.

    Args:
        root: the data directory.
        given: the folder, or the one that it is in; "" for the one below `root`.
        name: of the data set, for errors.

    Raises:
        UserError: there are none.
    """
    place = Path(given).expanduser() if given else root / FOLDER
    for folder in (place, place / "recordings"):
        if any(folder.glob("*.wav")):
            return folder
    raise UserError(
        f"data set {name}: no recordings in {place}; run: git clone"
        f" https://github.com/Jakobovski/{FOLDER} {place}"
    )


def read_all(folder: Path) -> tuple[tuple[str, ...], np.ndarray, Digits]:
    """The speakers by name, the take of each recording, and the recordings; owners are speakers.

    Raises:
        UserError: soundfile is missing, or a file cannot be read or is at another rate.
    """
    if importlib.util.find_spec("soundfile") is None:
        raise UserError(f"{NAME} needs soundfile; run: pip install soundfile")
    import soundfile

    found = [
        (match, path)
        for path in sorted(folder.glob("*.wav"))
        if (match := _FILE.fullmatch(path.stem))
    ]
    speakers = tuple(sorted({match["speaker"] for match, _ in found}))
    pieces = []
    for _, path in found:
        try:
            samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
        except (OSError, RuntimeError) as error:
            raise UserError(f"{NAME}: {path} cannot be read ({error}); clone it anew") from error
        if rate != RATE or not len(samples):
            raise UserError(f"{NAME}: {path}: expected sound at {RATE} Hz, got {rate} Hz")
        pieces.append(finite(samples.mean(axis=1), f"{NAME}: {path}"))
    digits = np.array([int(match["digit"]) for match, _ in found], np.int32)
    owners = np.array([speakers.index(match["speaker"]) for match, _ in found], np.int32)
    takes = np.array([int(match["take"]) for match, _ in found], np.int32)
    return speakers, takes, Digits(pieces, digits, owners)

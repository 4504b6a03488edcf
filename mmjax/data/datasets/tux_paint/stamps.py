"""The files of Tux Paint's stamps: pictures, captions and speech, and which belong together.

A stamp is known by its path below the folder without the suffix, such as "animals/birds/crow":

    crow.png            the picture, often on a transparent ground
    crow.txt            the English caption, then a line such as "fr.utf8=Un corbeau." for others
    crow_desc.ogg       the caption spoken in English
    crow_desc_fr.ogg    the caption spoken in French
"""

import hashlib
import io
import re
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import PIL.Image
from jaxtyping import UInt8

from mmjax.data.readers.transforms import read_image
from mmjax.errors import UserError

LARGEST = 256  # pixels: the side that larger pictures are reduced to
RATE = 16000  # Hz
INSTALLED = Path("/usr/share/tuxpaint/stamps")
ENGLISH = "en"
SPLITS = ("train", "validation", "test")
# The languages with speech, and how many stamps have it in them (2022.06.04-1).
SPEECH_LANGUAGES = {
    "be": 538,
    "bg": 757,
    "ca": 757,
    "da": 290,
    "el": 646,
    "en": 65,
    "es": 741,
    "fr": 767,
    "lt": 88,
    "ml": 6,
    "nl": 67,
    "ro": 760,
    "ru": 760,
}
_TENTHS = ("train",) * 8 + ("validation", "test")

_INSIDE = Path("usr/share/tuxpaint/stamps")  # of the unpacked package
_CAPTION = re.compile(r"(?P<language>[A-Za-z_@]+)\.utf8=(?P<caption>.*)")
_SPEECH = re.compile(r"(?P<stamp>.+)_desc(_(?P<language>[A-Za-z_]+))?")
_NUMBER = re.compile(r"[-_ ]*\d+$")
# The head of a page of an Ogg file, with a number drawn at random and the checksum that follows it.
_PAGE = re.compile(rb"(OggS.{10}).{4}(.{4}).{4}", re.DOTALL)


def find_folder(root: Path, given: str = "") -> Path:
    """The folder of the stamps: the given one, one below the data directory, or the installed one.

    Args:
        root: the data directory.
        given: the folder, or where the Debian package was unpacked; "" to look for it.

    Raises:
        UserError: there are no stamps.
    """
    unpacked = root / "tuxpaint"
    places = [Path(given).expanduser()] if given else [unpacked]
    places = [folder for place in places for folder in (place / _INSIDE, place)]
    places += [] if given else [INSTALLED]
    for folder in places:
        if any(folder.rglob("*.txt")):
            return folder
    raise UserError(
        f"data set tux_paint: no stamps in {given or f'{unpacked} or {INSTALLED}'}; run: "
        "apt-get download tuxpaint-stamps-default && "
        f"dpkg-deb -x tuxpaint-stamps-default_*.deb {places[1]}"
    )


def list_stamps(folder: Path) -> list[str]:
    """The stamps that have a PNG picture and a caption, in alphabetical order."""
    captions = (path.with_suffix("") for path in folder.rglob("*.txt"))
    return sorted(
        path.relative_to(folder).as_posix()
        for path in captions
        if path.with_name(f"{path.name}.png").exists()
    )


def list_clips(folder: Path, stamps: Sequence[str]) -> list[tuple[str, str, Path]]:
    """The stamp, language and file of each clip of speech, in alphabetical order."""
    known, clips = set(stamps), []
    for path in folder.rglob("*_desc*.ogg"):
        match = _SPEECH.fullmatch(path.stem)
        stamp = path.with_name(match["stamp"]).relative_to(folder).as_posix() if match else ""
        if stamp in known:
            clips.append((stamp, match["language"] or ENGLISH, path))
    return sorted(clips)


def read_captions(path: Path) -> dict[str, str]:
    """The captions in a file by language.

    Raises:
        ValueError: no English caption, or a line that is none.
        OSError: the file cannot be read.
    """
    english, *lines = path.read_text(encoding="utf-8").split("\n")
    captions = {ENGLISH: english.strip()}
    for line in filter(str.strip, lines):
        match = _CAPTION.fullmatch(line.strip())
        if match is None:
            raise ValueError(f"{path}: {line!r} is no caption")
        captions[match["language"]] = match["caption"].strip()
    if not captions[ENGLISH]:
        raise ValueError(f"{path}: no English caption")
    return {language: caption for language, caption in captions.items() if caption}


def read_picture(path: Path) -> UInt8[np.ndarray, "side side 3"]:
    """The visible part of a picture in the middle of a white square, whose side it fills.

    Raises:
        ValueError: nothing of it can be seen on white.
        OSError, SyntaxError: no readable image.
    """
    with PIL.Image.open(path) as file:
        image = file.convert("RGBA")
    image = image.crop(image.getchannel("A").getbbox())
    side = max(image.size)
    square = PIL.Image.new("RGBA", (side, side), (255, 255, 255, 0))
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    pixels = read_image(square, min(side, LARGEST))
    if pixels.min() == 255:
        raise ValueError(f"{path}: nothing to be seen on white")
    return pixels


def read_clip(path: Path) -> bytes:
    """A clip of speech as FLAC: one channel, 16 bits, `RATE`.

    Raises:
        ValueError: no sound in it.
        OSError, RuntimeError: no readable sound file.
    """
    import soundfile
    from scipy.signal import resample_poly  # slow to import

    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    if not samples.any() or not np.isfinite(samples).all():
        raise ValueError(f"{path}: silence, or samples that are no numbers")
    samples = resample_poly(samples.mean(1), RATE, rate).clip(-1, 1)
    file = io.BytesIO()
    soundfile.write(file, samples, RATE, format="FLAC", subtype="PCM_16")
    return file.getvalue()


def normal(text: str) -> str:
    """What is compared of a text: its letters and marks, whatever their case and the spaces."""
    return " ".join(unicodedata.normalize("NFC", text).lower().split())


def assign(folder: Path, captions: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """The split of each stamp: no caption, picture or clip is in two, whatever the languages.

    So stamps that share one of these are in one split, and so are those whose names differ but in
    the number at their end. The split of stamps that belong together follows from their first name.

    Args:
        folder: of the stamps.
        captions: of each stamp, by language.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    names = list(captions)
    shared = [(name, normal(text)) for name, texts in captions.items() for text in texts.values()]
    for name in names:
        place, _, last = name.rpartition("/")
        shared.append((name, (place, _NUMBER.sub("", last) or last)))
    files = [(name, folder / f"{name}.png") for name in names]
    files += [(name, path) for name, _, path in list_clips(folder, names)]
    for name, path in files:
        content = _PAGE.sub(rb"\1\2", path.read_bytes())
        shared.append((name, hashlib.sha256(content).digest()))
    rows = {name: row for row, name in enumerate(names)}
    columns = {key: column for column, key in enumerate({key for _, key in shared}, len(names))}
    edges = [(rows[name], columns[key]) for name, key in shared]
    size = len(rows) + len(columns)
    graph = coo_array((np.ones(len(edges)), np.transpose(edges)), (size, size))
    _, groups = connected_components(graph, directed=False)
    first: dict[int, str] = {}
    for name in sorted(names):
        first.setdefault(groups[rows[name]], name)
    return {name: _split(first[groups[rows[name]]]) for name in names}


def _split(name: str) -> str:
    number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8])
    return _TENTHS[number % len(_TENTHS)]

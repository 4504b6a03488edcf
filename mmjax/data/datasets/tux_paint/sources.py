"""The splits of Tux Paint's stamps: an example a stamp, or with speech an example a clip."""

import importlib.util
import itertools
import logging
import math
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mmjax.data.datasets.tux_paint.records import NAME, read_clips, read_stamps
from mmjax.data.datasets.tux_paint.stamps import ENGLISH, RATE, SPEECH_LANGUAGES, normal
from mmjax.data.sources.arrays import Arrays
from mmjax.data.sources.targets import Target
from mmjax.errors import UserError

SAME = "speech"  # in place of a language of captions: that of the speech

_logger = logging.getLogger(__name__)

_Clips = Mapping[str, Mapping[str, np.ndarray]]  # by language and stamp


class _Example(NamedTuple):
    stamp: str
    spoken: str  # a language, "" for none
    caption: str


def tux_paint(
    *,
    dir: str,  # noqa: A002
    seed: int = 0,
    image_size: int = 64,
    language: str = ENGLISH,
    speech: Sequence[str] = (),
    sample_rate: int = RATE,
    seconds: float = 2.0,
    stamps: str = "",
) -> dict[str, Arrays]:
    """The splits train, validation and test: image uint8 [size size 3], text (captions as strings)
    and, if asked for, speech float32 [samples] in -1..1.

    An example is a stamp with its caption, or with `speech` one clip of a stamp. The label is the
    category, such as "animals"; the slice is the language spoken. No picture, caption or clip is
    in two splits (`stamps.assign`). Pictures are whole, in the middle of a white square.

    The stamps are a Debian package (GPL-2, 161 MB), for which no root is needed:
    apt-get download tuxpaint-stamps-default && dpkg-deb -x tuxpaint-stamps-default_*.deb DIR

    Args:
        dir: the data directory; 20 MB, and up to 30 MB for each language of speech, are written
            below it once. Later starts only read them.
        seed: as for every data set; all is fixed here, so it changes nothing.
        image_size: the side of an image in pixels; over 256 shows no more.
        language: of the captions, such as "fr"; "speech" for the one that is spoken. Stamps
            without a caption in it are left out.
        speech: languages of the clips, such as ("fr", "ro"). Stamps without a clip are left out.
        sample_rate: of the speech in Hz, at most 16,000.
        seconds: of the speech; what a clip has beyond is cut, what it lacks is masked.
        stamps: DIR above; "" for "tuxpaint" in the data directory, or /usr/share if installed.

    Raises:
        UserError: no stamps, an unknown language, an option out of range, soundfile is missing, or
            the data directory cannot be written or is damaged.
    """
    del seed
    speech = tuple(dict.fromkeys((speech,) if isinstance(speech, str) else speech))
    samples = _check(language, speech, sample_rate, seconds)
    root = Path(dir).expanduser()
    shown = read_stamps(root, stamps, image_size)
    heard = {name: read_clips(root, stamps, name, sample_rate) for name in speech}
    captions = {name: row["captions"] for rows in shown.values() for name, row in rows.items()}
    examples = {
        split: [
            _Example(stamp, spoken, captions[stamp][wanted])
            for stamp, spoken in itertools.product(rows, speech or ("",))
            if not spoken or stamp in heard[spoken]
            if (wanted := spoken if language == SAME else language) in captions[stamp]
        ]
        for split, rows in shown.items()
    }
    if not examples["train"]:
        known = ", ".join(sorted(set(itertools.chain(*captions.values()))))
        raise UserError(
            f"{NAME}: nothing to train on with language={language!r} and speech={speech};"
            f" there are captions in {known}"
        )
    _report(captions, heard, language, samples)
    answers = tuple(sorted({_category(stamp) for stamp in captions}))
    # Equal contents have equal numbers, whatever the split.
    number_of = defaultdict(lambda: defaultdict(itertools.count(1).__next__))

    def arrays(split: str) -> Arrays:
        chosen = examples[split]
        pictures, image_index = _unique(example.stamp for example in chosen)
        texts, text_index = _unique(example.caption for example in chosen)
        pixels = np.zeros((len(pictures), image_size, image_size, 3), np.uint8)
        for row, stamp in zip(pixels, pictures, strict=True):
            row[:] = shown[split][stamp]["image"]
        values, masks = {"image": pixels}, {"image": np.ones(len(pixels), bool)}
        ids = {
            "image": _numbers(pixels, np.ndarray.tobytes, number_of["image"]),
            "text": _numbers(texts, normal, number_of["text"]),
        }
        if speech:
            clips = [heard[example.spoken][example.stamp] for example in chosen]
            values["speech"], masks["speech"] = _pad(clips, samples)
            ids["speech"] = _numbers(clips, np.ndarray.tobytes, number_of["speech"])
        return Arrays(
            name=f"{NAME}/{split}",
            values=values,
            masks=masks,
            texts={"text": texts},
            ids=ids,
            index={"image": image_index, "text": text_index},
            targets={
                "label": Target(
                    np.array([answers.index(_category(x.stamp)) for x in chosen], np.int32), answers
                )
            },
            slice_ids=np.array([speech.index(x.spoken) if speech else 0 for x in chosen], np.int32),
            slices=speech or ("all",),
        )

    return {split: arrays(split) for split in examples}


def _check(language: str, speech: Sequence[str], sample_rate: int, seconds: float) -> int:
    """The samples of a clip."""
    unknown = [name for name in speech if name not in SPEECH_LANGUAGES]
    if unknown:
        known = ", ".join(SPEECH_LANGUAGES)
        raise UserError(f"{NAME}: no speech in {unknown[0]!r}; choose from {known}")
    if language == SAME and not speech:
        raise UserError(f"{NAME}: language={SAME!r} but speech=(): give languages such as ('fr',)")
    if not 0 < sample_rate <= RATE:
        raise UserError(f"{NAME}: sample_rate={sample_rate}: give 1 to {RATE} Hz")
    if not math.isfinite(seconds) or round(seconds * sample_rate) < 1:
        raise UserError(f"{NAME}: seconds={seconds}: give a number above 0, such as 2.0")
    if speech and importlib.util.find_spec("soundfile") is None:
        raise UserError(f"{NAME}: speech needs soundfile; run: pip install soundfile")
    return round(seconds * sample_rate)


def _report(captions: Mapping[str, Mapping], heard: _Clips, language: str, samples: int) -> None:
    """Says what is left out or cut."""
    for spoken in heard or ("",):
        stamps = [name for name in captions if not spoken or name in heard[spoken]]
        wanted = spoken if language == SAME else language
        lacking = sum(wanted not in captions[name] for name in stamps)
        long = sum(len(heard[spoken][name]) > samples for name in stamps) if spoken else 0
        for count, what in (
            (len(captions) - len(stamps), f"stamps have no speech in {spoken!r} and are left out"),
            (lacking, f"stamps have no caption in {wanted!r} and are left out"),
            (long, f"clips in {spoken!r} have more than {samples} samples and are cut"),
        ):
            if count:
                _logger.warning("%s: %d %s", NAME, count, what)


def _category(stamp: str) -> str:
    return stamp.split("/")[0]


def _unique(keys: Iterable[Any]) -> tuple[list[Any], np.ndarray]:
    """The different ones, and for each key which of them it is."""
    keys = list(keys)
    rows = {key: row for row, key in enumerate(dict.fromkeys(keys))}
    return list(rows), np.array([rows[key] for key in keys], np.int32)


def _numbers(
    contents: Iterable[Any], key: Callable[[Any], Hashable], number_of: Mapping[Hashable, int]
) -> np.ndarray:
    return np.array([number_of[key(content)] for content in contents], np.int32)


def _pad(clips: Sequence[np.ndarray], samples: int) -> tuple[np.ndarray, np.ndarray]:
    """Clips as rows of so many samples, and which of these are there."""
    rows = np.zeros((len(clips), samples), np.float32)
    lengths = np.array([min(len(clip), samples) for clip in clips], np.int32)
    for row, clip, length in zip(rows, clips, lengths, strict=True):
        row[:length] = clip[:length]
    return rows, np.arange(samples) < lengths[:, None]

"""The TFDS builders: files of the Debian package in, ArrayRecord out."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import PIL.Image
import tensorflow_datasets as tfds

from mmjax.data.datasets.tux_paint import stamps
from mmjax.data.sources.source import Records, Source
from mmjax.errors import UserError

CLIPS = "clips"  # the one split of the speech: a stamp's split is known from the stamp


class _FromFolder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """A builder that reads a folder of stamps.

    Args:
        folder: of the stamps; only needed to write.
        options: those of TFDS.
    """

    VERSION = tfds.core.Version("1.0.0")

    def __init__(self, *, folder: Path | None = None, **options: Any):
        self._folder = folder
        super().__init__(**options)


class TuxPaintStamps(_FromFolder):
    """One example a stamp: its path, its picture and its captions.

    Features: `stamp` (text); `image` uint8 [H H 3], at most 256 pixels a side; `captions`, a
    sequence of `language` and `caption` (text).

    References:
        Tux Paint, https://tuxpaint.org (GPL-2)
    """

    def _info(self) -> tfds.core.DatasetInfo:
        text = tfds.features.Text
        features = {
            "stamp": text(),
            "image": tfds.features.Image(shape=(None, None, 3), encoding_format="png"),
            "captions": tfds.features.Sequence({"language": text(), "caption": text()}),
        }
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(features), disable_shuffling=True
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator]:
        del dl_manager
        names = stamps.list_stamps(self._folder)
        raw = [
            {"image": self._folder / f"{name}.png", "captions": self._folder / f"{name}.txt"}
            for name in names
        ]
        decoders = {"image": _png, "captions": stamps.read_captions}
        source = Source(f"stamps in {self._folder}", Records(raw, decoders, cache=False), (), ())
        captions = {}
        for index, name in enumerate(names):
            if record := source.read(index, ("captions",)):
                captions[name] = record["captions"]
        split_of = stamps.assign(self._folder, captions)
        chosen = {split: [] for split in stamps.SPLITS}
        for index, name in enumerate(names):
            if name in split_of:
                chosen[split_of[name]].append((index, name, captions[name]))
        return {split: self._generate_examples(source, rows) for split, rows in chosen.items()}

    def _generate_examples(
        self, source: Source, rows: list[tuple[int, str, dict[str, str]]]
    ) -> Iterator[tuple[int, dict]]:
        for index, name, captions in rows:
            if record := source.read(index, ("image",)):
                texts = [{"language": k, "caption": v} for k, v in captions.items()]
                yield index, {"stamp": name, "image": record["image"], "captions": texts}


class TuxPaintSpeech(_FromFolder):
    """One example a clip of speech in one language: the path of its stamp, and FLAC of 16 kHz.

    The config is the language. Features: `stamp` (text) and `samples` (a FLAC file).

    References:
        Tux Paint, https://tuxpaint.org (GPL-2)
    """

    BUILDER_CONFIGS = tuple(tfds.core.BuilderConfig(name=name) for name in stamps.SPEECH_LANGUAGES)

    def _info(self) -> tfds.core.DatasetInfo:
        features = {"stamp": tfds.features.Text(), "samples": tfds.features.Text()}
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(features), disable_shuffling=True
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator]:
        del dl_manager
        clips = stamps.list_clips(self._folder, stamps.list_stamps(self._folder))
        chosen = [clip for clip in clips if clip[1] == self.builder_config.name]
        if not chosen:
            raise UserError(
                f"data set tux_paint: no speech in {self.builder_config.name!r} in {self._folder};"
                " unpack the whole package"
            )
        return {CLIPS: self._generate_examples(chosen)}

    def _generate_examples(
        self, clips: list[tuple[str, str, Path]]
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        raw = [{"samples": path} for _, _, path in clips]
        records = Records(raw, {"samples": stamps.read_clip}, cache=False)
        source = Source(f"speech ({self.builder_config.name}) in {self._folder}", records, (), ())
        for index, (stamp, _, _) in enumerate(clips):
            if record := source.read(index, ("samples",)):
                yield index, {"stamp": stamp, **record}


def _png(path: Path) -> io.BytesIO:
    # A file, not pixels, which TFDS would encode by TensorFlow.
    file = io.BytesIO()
    PIL.Image.fromarray(stamps.read_picture(path)).save(file, "PNG")
    file.seek(0)
    return file

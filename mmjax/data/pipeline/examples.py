"""Questions about images as rows of a batch: one image with some of its questions, or a blank row.

With K questions an image, the questions of row r are the examples r * K to r * K + K - 1; with
K = 0 every pair of an image and a question is a row of its own.
"""

import functools
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Int32

from mmjax.data.readers.transforms import select_questions, take_questions
from mmjax.data.sources.source import Source, questions
from mmjax.errors import UserError
from mmjax.types import MASK, SLICE, TARGETS

MODALITIES = ("image", "text")

Encode = Callable[[Sequence[str]], tuple[Int32[np.ndarray, "n L"], Bool[np.ndarray, "n L"]]]
Row = tuple[int, int]  # a record and the first of its questions that the row asks

_NO_QUESTIONS = {"questions": {"question": (), "answer": (), "type": ()}}


def rows(source: Source, count: int) -> list[Row]:
    """The rows of `count` questions that hold every question of `source` exactly once."""
    asked = enumerate(questions(source))
    return [(index, start) for index, texts in asked for start in range(0, len(texts), count)]


class QuestionExamples:
    """Makes the rows and batches of questions about images; see pipeline.Examples.

    In training a row draws its questions anew, without replacement. In evaluation an image with
    more than K questions takes several rows. A batch is a dict of `image` uint8 [R H W 3],
    `image_mask` bool [R], `image_index` int32 [B] (the row of each example among this process's;
    absent for K = 0), `text` int32 [B L], `text_mask` bool [B L], `targets/label` and `slice` int32
    [B],
    `targets/label_mask` and `_mask` bool [B]; keys of other modalities are absent, and nothing of
    theirs is decoded.

    Args:
        source: where records are read.
        modalities: the keys that batches have, each a column of `MODALITIES` (see Source.columns).
        questions_per_image: K; 0 for one question a row and batches without `image_index`.
        encode: by modality, texts -> (ids int32 [n L], mask bool [n L]).

    Raises:
        UserError: `modalities` is empty or names one that the source lacks, or
            `questions_per_image` is negative.
    """

    def __init__(
        self,
        source: Source,
        modalities: tuple[str, ...],
        questions_per_image: int,
        encode: Mapping[str, Encode],
    ):
        unknown = [name for name in modalities if source.column(name) not in MODALITIES]
        if unknown or not modalities:
            known = ", ".join(MODALITIES)
            raise UserError(f"{source.name}: modalities {modalities}: pass one or more of {known}")
        if questions_per_image < 0:
            raise UserError(f"questions_per_image={questions_per_image}: pass 0 or more")
        self._source, self._encode = source, encode
        self._indexed, self._count = questions_per_image > 0, max(questions_per_image, 1)
        of = {
            column: [n for n in modalities if source.column(n) == column] for column in MODALITIES
        }
        self._images, self._texts = of["image"], of["text"]
        self._fields = ("questions", "image") if self._images else ("questions",)
        self.name = source.name

    @functools.cached_property
    def _order(self) -> list[Row]:
        return rows(self._source, self._count)

    def train_length(self) -> int:
        """Images of an epoch; for K = 0 questions."""
        return len(self._source.records) if self._indexed else len(self._order)

    def eval_length(self) -> int:
        """Rows that hold every question once."""
        return len(self._order)

    def train_row(self, index: int, rng: np.random.Generator) -> dict:
        """The row of record `index` with questions drawn at random; for K = 0 as `eval_row`."""
        if not self._indexed:
            return self.eval_row(index)
        record = self._source.read(index, self._fields)
        if record is None:
            return self._blank()
        return self._row(record, select_questions(record, rng, self._count))

    def eval_row(self, position: int) -> dict:
        """The row at `position` of those that hold every question once; a blank one behind them."""
        if position >= len(self._order):
            return self._blank()
        index, start = self._order[position]
        record = self._source.read(index, self._fields)
        if record is None:
            return self._blank()
        return self._row(record, take_questions(record, start, self._count))

    def batch(self, chosen: Sequence[dict]) -> dict[str, np.ndarray]:
        """Stacks rows to a batch; the questions of a row stay together."""
        images = [row["image"] for row in chosen]
        batch = {
            TARGETS + self._source.target: np.concatenate([row["answer"] for row in chosen]),
            SLICE: np.concatenate([row["type"] for row in chosen]),
            MASK: np.concatenate([row["mask"] for row in chosen]),
        }
        batch[f"{TARGETS}{self._source.target}_mask"] = batch[MASK]
        if self._images:
            blank = np.zeros(self.image_shape, np.uint8)
            other = {image.shape for image in images if image is not None} - {blank.shape}
            if other:
                raise UserError(
                    f"{self.name}: images of shapes {list(blank.shape)} and {list(other.pop())}:"
                    " decode all to one size"
                )
            pixels = np.stack([blank if image is None else image for image in images])
            there = np.array([image is not None for image in images])
            for name in self._images:
                batch[name], batch[f"{name}_mask"] = pixels, there
                if self._indexed:
                    rows = np.arange(len(chosen), dtype=np.int32)
                    batch[f"{name}_index"] = rows.repeat(self._count)
        texts = [text for row in chosen for text in row["question"]]
        for name in self._texts:
            batch[name], batch[f"{name}_mask"] = self._encode[name](texts)
        return batch

    def _row(self, record: dict, asked: dict) -> dict:
        return {"image": record.get("image"), **asked}

    def _blank(self) -> dict:
        return {"image": None, **take_questions(_NO_QUESTIONS, 0, self._count)}

    @functools.cached_property
    def image_shape(self) -> tuple[int, ...]:
        """That of the first image that can be read."""
        readable = (self._source.read(i, ("image",)) for i in range(len(self._source.records)))
        return next(record["image"].shape for record in readable if record is not None)

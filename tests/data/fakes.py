"""A source of small records whose every number says where it comes from."""

import functools
import itertools

import numpy as np

from mmjax.data.pipeline import tokenizer
from mmjax.data.pipeline.examples import QuestionExamples
from mmjax.data.pipeline.loader import Reading, eval_batches, train_iterator
from mmjax.data.sources.source import Records, Source

COUNTS = (3, 1, 5, 0, 2)  # questions of the records 0 to 4, and again from 5 on
BOTH = ("image", "text")
ANSWERS = tuple(f"answer {i}" for i in range(3000))
SLICES = ("first", "second", "third")


def decode_image(value):
    if value is None:
        raise ValueError("broken image")
    return np.full((4, 4, 3), value, np.uint8)


def decode_questions(index):
    count = COUNTS[index % len(COUNTS)]
    return {
        "question": tuple(f"image {index} question {i}" for i in range(count)),
        "answer": np.arange(index * 10, index * 10 + count),
        "type": np.arange(count) % 3,
    }


def make(length=23, broken=()):
    raw = [{"image": None if i in broken else i, "questions": i} for i in range(length)]
    records = Records(raw, {"image": decode_image, "questions": decode_questions}, cache=False)
    return Source("fake/train", records, ANSWERS, SLICES)


@functools.cache
def encoder():
    words = [f"image {i} question {i}" for i in range(250)]
    return functools.partial(tokenizer.encode, tokenizer.train(words), length=5)


def examples(source=None, *, questions_per_image=3, encode=None, modalities=BOTH):
    encode = {"text": encoder()} if encode is None else encode
    return QuestionExamples(source or make(), modalities, questions_per_image, encode)


def reading(**changes):
    return Reading(**({"batch_rows": 4, "threads": 0, "prefetch": 0} | changes))


def _split(changes):
    names = ("questions_per_image", "encode", "modalities")
    ours = {name: changes.pop(name) for name in names if name in changes}
    return ours, changes


def training(source=None, *, seed=1, epochs=None, **changes):
    ours, rest = _split(changes)
    return train_iterator(examples(source, **ours), reading(**rest), seed=seed, epochs=epochs)


def evaluation(source=None, **changes):
    ours, rest = _split(changes)
    return eval_batches(examples(source, **ours), reading(**rest))


def images(batch):
    """The image that each row shows, None where there is none."""
    shown = zip(batch["image"][:, 0, 0, 0].tolist(), batch["image_mask"], strict=True)
    return [number if present else None for number, present in shown]


def labels(batches):
    return [label for batch in batches for label in batch["targets/label"][batch["_mask"]].tolist()]


def every_label(length=23):
    return [label for i in range(length) for label in decode_questions(i)["answer"].tolist()]


def assert_equal(first, second):
    assert first.keys() == second.keys()
    for key in first:
        np.testing.assert_array_equal(first[key], second[key])
        assert first[key].dtype == second[key].dtype


def take(iterator, count):
    return list(itertools.islice(iterator, count))

import logging
import pickle

import numpy as np
import pytest

from mmjax.data.sources.source import Records, Source, check, max_questions, questions
from mmjax.errors import UserError


class Raw:
    """Counts reads; the images of the records in `broken` cannot be decoded."""

    def __init__(self, length, broken=()):
        self.length, self.broken, self.reads = length, set(broken), 0

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        self.reads += 1
        return {"image": None if index in self.broken else index, "questions": index}


def decode_image(value):
    if value is None:
        raise ValueError("no image in the record")
    return np.full((2, 2, 3), value % 256, np.uint8)


def decode_questions(value):
    count = value % 4 + 1
    asked = tuple(f"question {value} {i}" for i in range(count))
    return {"question": asked, "answer": np.arange(count), "type": np.zeros(count, int)}


DECODERS = {"image": decode_image, "questions": decode_questions}


def make(length=300, broken=(), cache=False):
    raw = Raw(length, broken)
    source = Source("fake/train", Records(raw, DECODERS, cache=cache), tuple("abcd"), ("all",))
    return raw, source


def test_a_record_is_read_and_decoded_once_with_cache_and_anew_without():
    for cache, reads in ((True, 1), (False, 4)):
        raw, source = make(cache=cache)
        for _ in range(2):
            record = source.records[5]
        assert record["image"].max() == 5
        assert record["questions"]["question"][0] == "question 5 0"
        assert raw.reads == reads, cache


def test_only_the_fields_asked_for_are_decoded():
    _, source = make(broken=range(300))
    assert source.read(5, ("questions",)).keys() == {"questions"}
    assert len(questions(source)) == 300
    assert max_questions(source) == 4
    assert not source.broken


@pytest.mark.parametrize("index", [-1, 300])
def test_indices_outside_are_refused(index):
    with pytest.raises(IndexError):
        make()[1].records[index]


def test_broken_records_are_counted_once_and_logged(caplog):
    _, source = make(broken=(7, 200))
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert source.read(7, ("image",)) is None
        assert check(source) == source.broken
    assert source.broken.keys() == {7, 200}
    assert len(caplog.records) == 2
    assert "fake/train: record 7 is broken" in caplog.text
    assert "no image in" in caplog.text


def test_one_per_cent_passes_and_more_does_not():
    assert len(check(make(broken=(9, 100, 299))[1])) == 3
    _, source = make(broken=(9, 100, 200, 299))
    with pytest.raises(
        UserError, match=r"fake/train: at least 4 of 300 .* first is record 9"
    ) as caught:
        check(source)
    assert "\n" not in str(caught.value)


def test_the_cache_does_not_travel_to_workers():
    _, source = make(cache=True)
    check(source)
    cold = make(cache=True)[1]
    assert len(pickle.dumps(source.records)) < len(pickle.dumps(cold.records)) + 100
    assert pickle.loads(pickle.dumps(source.records))[5]["image"].max() == 5


def test_a_lack_of_memory_is_no_broken_record():
    def decode(_):
        raise MemoryError

    source = Source("fake", Records([{"image": 1}] * 500, {"image": decode}), (), ())
    with pytest.raises(MemoryError):
        source.read(0, ("image",))

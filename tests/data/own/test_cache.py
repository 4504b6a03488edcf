"""Decoded files in memory: the first that fit, each decoded once."""

import pickle
import threading

import numpy as np

from mmjax.data.own.cache import Cache
from mmjax.data.own.examples import TableExamples
from mmjax.data.own.own import own_data
from mmjax.data.pipeline.loader import Reading, train_iterator
from mmjax.types import Input
from tests.data.fakes import assert_equal, take
from tests.data.own.readers import make, png

N = 20


def decoder(asked, key, size=8):
    def decode():
        asked.append(key)
        return Input(np.full(size, key, np.uint8), np.ones(2, bool))

    return decode


def test_what_fits_is_decoded_once_and_all_else_each_time():
    cache, asked = Cache(25), []  # two of ten bytes
    for _ in range(3):
        for key in range(4):
            assert cache.get(key, decoder(asked, key)).value.tolist() == [key] * 8
    assert asked == [0, 1, 2, 3, 2, 3, 2, 3]
    assert cache.get("small", decoder(asked, 9, size=3)) is cache.get("small", decoder(asked, 9))


def test_a_worker_begins_with_an_empty_one_of_the_same_size():
    cache, asked = Cache(10), []
    cache.get(0, decoder(asked, 0))
    again = pickle.loads(pickle.dumps(cache))
    for _ in range(2):
        again.get(0, decoder(asked, 0))
    assert asked == [0, 0]


def test_many_threads_keep_no_more_than_fits():
    cache, asked = Cache(50), []
    threads = [
        threading.Thread(
            target=lambda: [cache.get(k, decoder(asked, k)) for k in range(20) for _ in range(3)]
        )
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    asked.clear()
    for key in range(20):
        cache.get(key, decoder(asked, key))
    assert len(asked) == 15


def test_batches_are_the_same_and_files_are_read_once(tmp_path):
    lines = ["photo,y"]
    for i in range(N):
        (tmp_path / f"{i}.png").write_bytes(png(i))
        lines.append(f"{i}.png,{'ab'[i % 2]}")
    (tmp_path / "a.csv").write_text("\n".join(lines))
    given = {"target": "y", "shares": {"train": 1.0}}
    plain = own_data(tmp_path / "a.csv", **given).splits["train"]
    own = own_data(tmp_path / "a.csv", **given, cache=True)
    read, asked = make(own)["photo"], []

    def counted(values):
        asked.extend(value for value in values if value is not None)
        return read(values)

    reading = Reading(5, threads=0)
    one = take(train_iterator(TableExamples(plain, {"photo": read}), reading, seed=0), 12)
    for _ in range(2):  # as training and the baselines do, each with examples of its own
        examples = TableExamples(own.splits["train"], {"photo": counted})
        two = take(train_iterator(examples, reading, seed=0), 12)
        for batch, again in zip(one, two, strict=True):
            assert_equal(batch, again)
    assert len(asked) == len(set(asked)) == N

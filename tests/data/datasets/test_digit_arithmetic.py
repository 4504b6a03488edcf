import itertools
import subprocess
import sys

import numpy as np
import pytest

from mmjax.data.datasets import digit_arithmetic, spoken_digits
from mmjax.data.datasets.digit_arithmetic import MODALITIES, OPERATORS, SLICES, best_without
from mmjax.errors import UserError


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """A data directory with the speech synthesised in it: a few seconds of work."""
    path = tmp_path_factory.mktemp("data")
    spoken_digits.spoken_digits(path)
    return path


@pytest.fixture(scope="module")
def splits(directory):
    options = {"train": 4000, "missing": 0.2, "operators": tuple(OPERATORS)}
    return digit_arithmetic.digit_arithmetic(dir=str(directory), **options)


def test_the_label_is_the_result_of_what_is_shown(directory, splits):
    spoken = spoken_digits.spoken_digits(directory)["digits"]
    _, written = digit_arithmetic._pictures()
    by_word = {
        "plus": lambda a, b: (a + b) % 10,
        "minus": lambda a, b: (a - b) % 10,
        "times": lambda a, b: (a * b) % 10,
        "difference": lambda a, b: max(a, b) - min(a, b),
        "larger": max,
        "smaller": min,
    }
    operate = [by_word[word] for word in OPERATORS]
    for split in splits.values():
        rows = zip(
            *(split.index[name] for name in MODALITIES), split.targets["label"].values, strict=True
        )
        for image, audio, text, label in rows:
            assert operate[text](written[image], spoken[audio]) == label


def test_splits_share_no_picture_and_no_voice(directory, splits):
    voices = spoken_digits.spoken_digits(directory)["voices"]
    used = {
        name: (set(split.index["image"]), set(voices[split.index["audio"]]))
        for name, split in splits.items()
    }
    for one, other in (("train", "validation"), ("train", "test"), ("validation", "test")):
        for kind in (0, 1):
            assert used[one][kind]
            assert not used[one][kind] & used[other][kind]


def test_conditions_and_missing_modalities(splits):
    test = splits["test"]
    assert test.slices == SLICES
    for slice_id in range(4):
        chosen = test.slice_ids == slice_id
        assert chosen.sum() == 1000
        for i, name in enumerate(MODALITIES, start=1):
            assert (test.absent[name][chosen] == (slice_id == i)).all()
    for name in MODALITIES:
        assert abs(splits["train"].absent[name].mean() - 0.2) < 0.03


def test_the_best_answer_without_a_modality_by_counting():
    rng = np.random.default_rng(0)
    seen, heard = rng.integers(10, size=(2, 200_000))
    operator = rng.integers(6, size=seen.size)
    labels = np.stack([f(seen, heard) for f in OPERATORS.values()])[operator, np.arange(seen.size)]
    known = {"image": seen, "audio": heard, "text": operator}
    for absent in ((), *itertools.combinations(MODALITIES, 1), ("image", "text"), MODALITIES):
        kept = [known[name] for name in MODALITIES if name not in absent]
        key = sum((x * 10**i for i, x in enumerate(kept)), np.zeros_like(seen))
        counts = np.zeros((1000, 10))
        np.add.at(counts, (key, labels), 1)
        best = best_without(*absent, operators=tuple(OPERATORS))
        np.testing.assert_allclose(counts.max(1).sum() / seen.size, best, atol=0.01)


def test_quiet_is_cut_from_both_ends_and_from_nowhere_else():
    samples = np.array([0, 0.01, 0.5, 0, -1.0, 0.03, 0.019, 0])
    np.testing.assert_array_equal(spoken_digits.trim(samples), [0.5, 0, -1.0, 0.03])
    assert len(spoken_digits.trim(np.zeros(4))) == 0


def test_speech_is_the_same_in_every_process_and_not_silent(directory, tmp_path):
    again = spoken_digits.spoken_digits(tmp_path)
    first = spoken_digits.spoken_digits(directory)
    for name in first:
        np.testing.assert_array_equal(again[name], first[name])
    clips, lengths = first["clips"], first["lengths"]
    assert clips.dtype == np.float32
    assert (np.abs(clips).max(1) > 0.05).all()
    assert np.abs(clips).max() <= 1
    assert (lengths > 500).all()
    behind = np.arange(clips.shape[1]) >= lengths[:, None]
    np.testing.assert_array_equal(clips[behind], 0)
    assert len(clips) == len(spoken_digits.VOICES.split()) * len(spoken_digits.SPEEDS) * 10


def test_mistakes_are_told(directory, tmp_path, monkeypatch):
    with pytest.raises(UserError, match="missing=1"):
        digit_arithmetic.digit_arithmetic(dir=str(directory), missing=1.0)
    with pytest.raises(
        UserError, match="operators=\\('modulo',\\): give one or more of plus, minus"
    ):
        digit_arithmetic.digit_arithmetic(dir=str(directory), operators=("modulo",))
    broken = tmp_path / "spoken_digits" / "1.npz"
    broken.parent.mkdir()
    broken.write_bytes(b"no archive")
    with pytest.raises(UserError, match="cannot be read.*delete it"):
        spoken_digits.spoken_digits(tmp_path)

    def fails(*_, **__):
        return subprocess.CompletedProcess([], 1, "", "Traceback\nOSError: no library")

    monkeypatch.setattr(spoken_digits.subprocess, "run", fails)
    with pytest.raises(UserError, match="OSError: no library"):
        spoken_digits.spoken_digits(tmp_path / "other")
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    monkeypatch.setattr(spoken_digits.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UserError, match="pip install espeakng-loader"):
        spoken_digits.spoken_digits(tmp_path / "third")

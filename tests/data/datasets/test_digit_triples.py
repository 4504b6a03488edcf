"""Pictures, recordings and words of digits: who is in which split, and what is asked."""

import string

import numpy as np
import pytest
import soundfile

from mmjax.data.datasets import number_words
from mmjax.data.datasets.digit_triples import FOLDS, MODALITIES, TASKS, digit_triples
from mmjax.errors import UserError

VOICES = ("ada", "bob", "cleo", "dan", "eve", "fred")


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """Recordings of six voices, whose samples all say the voice and the digit."""
    path = tmp_path_factory.mktemp("data")
    folder = path / "free-spoken-digit-dataset" / "recordings"
    folder.mkdir(parents=True)
    for voice, name in enumerate(VOICES):
        for digit in range(10):
            for take, samples in enumerate((900, 9000)):
                sound = np.full(samples, (1 + voice) / 10 + (1 + digit) / 1000)
                soundfile.write(folder / f"{digit}_{name}_{take}.wav", sound, 8000, "FLOAT")
    return str(path)


@pytest.fixture(scope="module")
def splits(directory):
    return digit_triples(dir=directory, fold=2, train=3000)


def shown(split, name):
    """What each example shows, as something that can be compared."""
    if name in split.texts:
        return split.example_texts(name)
    return [x.tobytes() for x in split.values[name][split.index[name]]]


def test_no_voice_writer_or_spelling_is_in_two_splits(splits):
    for name in MODALITIES:
        seen = {split: set(shown(rows, name)) for split, rows in splits.items()}
        for one, other in (("train", "test"), ("validation", "test"), ("train", "validation")):
            assert len(seen[one] & seen[other]) == 0, (name, one, other)
    voices = {
        split: {int(x * 10) for x in rows.values["audio"][:, 0]} for split, rows in splits.items()
    }
    assert voices == {"train": {1, 2, 5, 6}, "validation": {4}, "test": {3}}


def test_targets_are_the_digits(splits):
    said = {
        " ".join(word): digit
        for numbers in number_words.forms().values()
        for digit, forms in enumerate(numbers)
        for word in forms
    }
    for rows in splits.values():
        spoken = rows.values["audio"][rows.index["audio"], 0]
        expected = np.round((spoken * 10 % 1) * 100 - 1)
        np.testing.assert_array_equal(rows.targets["spoken"].values, expected)
        words = rows.example_texts("text")
        np.testing.assert_array_equal(rows.targets["read"].values, [said[w] for w in words])


def test_labels_of_an_example_are_independent(splits):
    first, second, third = (splits["train"].targets[TASKS[n]].values for n in MODALITIES)
    for one, other in ((first, second), (first, third), (second, third)):
        assert np.mean(one == other) == pytest.approx(0.1, abs=0.03)  # a deviation of 0.006


def test_every_item_is_asked_for_once_in_the_test(splits):
    test = splits["test"]
    for name in MODALITIES:
        known = test.targets[TASKS[name]].mask
        asked = test.index[name][known]
        count = len(test.texts[name] if name in test.texts else test.values[name])
        assert sorted(asked) == list(range(count))
    assert splits["train"].targets["read"].mask is None


def test_long_recordings_are_cut_and_short_ones_masked(splits):
    lengths = splits["train"].masks["audio"].sum(axis=1)
    assert set(lengths) == {900, 6400}


def test_one_modality_is_a_data_set_of_its_own_and_needs_no_other(tmp_path):
    for fold in range(FOLDS):
        words = digit_triples(dir=str(tmp_path), modalities="text", fold=fold)
        assert set(words["train"].targets) == {"read"}
        assert sorted(words["train"].index["text"]) == list(range(len(words["train"])))
        assert len(words["test"]) > 100
    assert sum(len(rows) for rows in words.values()) == 901  # no spelling is left out
    pictures = digit_triples(dir=str(tmp_path), modalities=("image",))
    assert sum(len(rows) for rows in pictures.values()) == 1797


def test_no_spelling_is_of_two_numbers():
    found = {}
    for language, numbers in number_words.forms().items():
        assert len(numbers) == 10, language
        for digit, forms in enumerate(numbers):
            for word in forms:
                assert set(word) <= set(string.ascii_lowercase)
                assert found.setdefault(word, digit) == digit
    assert len(found) == 901


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "no recordings in .*git clone"),
        ({"modalities": ("image", "adio")}, "did you mean 'audio'"),
        ({"modalities": ()}, "There is: audio, image, text"),
        ({"modalities": "text", "fold": 6}, "fold of 0 to 5"),
        ({"modalities": "image", "image_size": 12}, "multiple of 8"),
        ({"modalities": "text", "train": -1}, "0 examples or more"),
    ],
)
def test_what_cannot_be_is_one_line(options, message, tmp_path):
    with pytest.raises(UserError, match=message):
        digit_triples(dir=str(tmp_path), **options)

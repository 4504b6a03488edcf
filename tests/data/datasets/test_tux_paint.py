import functools
import itertools

import numpy as np
import pytest

from mmjax.data.datasets.tux_paint.sources import tux_paint
from mmjax.data.pipeline import loader, tokenizer
from mmjax.data.sources.arrays import ArrayExamples
from tests.data import tux

NUMBER = {f"A {tux.name(number)}.": number for number in range(200)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tux.make(tmp_path_factory.mktemp("stamps"))


@pytest.fixture(scope="module")
def load(folder, tmp_path_factory):
    directory = tmp_path_factory.mktemp("data")
    return functools.partial(tux_paint, dir=str(directory), stamps=str(folder))


def captions(arrays):
    return [arrays.texts["text"][row] for row in arrays.index["text"]]


def pictures(arrays):
    return arrays.values["image"][arrays.index["image"]]


def numbers(arrays):
    """Which drawn stamps the examples are, by their English captions."""
    return [NUMBER[caption] for caption in captions(arrays)]


def test_every_stamp_is_in_one_split(load):
    splits = load()
    assert sorted(itertools.chain(*map(numbers, splits.values()))) == list(range(60))
    assert all(len(arrays) > 1 for arrays in splits.values())
    assert len(splits["train"]) > 30


def test_an_example_has_its_picture_caption_and_category(load):
    for arrays in load(image_size=24).values():
        assert arrays.targets["label"].classes == tux.CATEGORIES
        assert arrays.slices == ("all",)
        assert arrays.masks["image"].all()
        assert not arrays.slice_ids.any()
        for number, picture, label in zip(
            numbers(arrays), pictures(arrays), arrays.targets["label"].values, strict=True
        ):
            assert picture.dtype == np.uint8
            assert label == number % 3
            # The drawing is twice as wide as high, and its transparent margins are cut off.
            np.testing.assert_array_equal(picture[12, [0, 12, 23]], [tux.colour(number)] * 3)
            shown = (picture < 255).any(-1).any(1)
            np.testing.assert_array_equal(
                np.flatnonzero(picture.min((1, 2)) == 255)[[0, -1]], [0, 23]
            )
            assert 11 <= shown.sum() <= 16  # 12, and the soft edges of the enlarged drawing


def test_a_clip_is_an_example_with_the_picture_and_the_caption_of_its_stamp(load):
    splits = load(speech=("fr", "en"), seconds=0.5)
    seen = []
    for arrays in splits.values():
        assert arrays.slices == ("fr", "en")
        sounds, masks = arrays.values["speech"], arrays.masks["speech"]
        assert (sounds.dtype, sounds.shape[1:], masks.dtype) == (np.float32, (8000,), bool)
        for row, number in enumerate(numbers(arrays)):
            spoken = arrays.slices[arrays.slice_ids[row]]
            seen.append((number, spoken))
            np.testing.assert_array_equal(
                pictures(arrays)[row][32, 32], tux.colour(number), err_msg=str(number)
            )
            seconds = min(0.25 + 0.05 * number, 0.5) if spoken == "fr" else 0.2
            length = round(seconds * 16000)
            np.testing.assert_array_equal(masks[row], np.arange(8000) < length)
            np.testing.assert_array_equal(sounds[row, length:], 0)
            sound = sounds[row, :length]
            assert sound.max() == pytest.approx(0.25, abs=0.03)  # the mean of tone and silence
            strongest = np.abs(np.fft.rfft(sound)).argmax() / seconds
            pitch = tux.hertz(number) * (1 if spoken == "fr" else 2)
            assert strongest == pytest.approx(pitch, abs=1 / seconds)
    expected = [(n, "fr") for n in range(tux.FRENCH)] + [(n, "en") for n in range(tux.ENGLISH)]
    assert sorted(seen) == sorted(expected)


def test_speech_comes_at_the_rate_asked_for(load):
    arrays = load(speech="fr", sample_rate=4000, seconds=0.25)["train"]
    assert arrays.values["speech"].shape[1] == 1000
    for row, number in enumerate(numbers(arrays)):
        strongest = np.abs(np.fft.rfft(arrays.values["speech"][row])).argmax() * 4
        assert strongest == pytest.approx(tux.hertz(number), abs=4)


def test_captions_come_in_the_language_asked_for_or_not_at_all(load, caplog):
    splits = load(language="fr")
    texts = itertools.chain(*map(captions, splits.values()))
    assert sorted(texts) == sorted(f"Un {tux.name(n)}." for n in range(0, 60, 2))
    assert "30 stamps have no caption in 'fr' and are left out" in caplog.text


def test_captions_may_come_in_the_language_that_is_spoken(load, caplog):
    splits = load(language="speech", speech=("fr", "en"), seconds=0.5)
    said = {
        (caption, arrays.slices[kind])
        for arrays in splits.values()
        for caption, kind in zip(captions(arrays), arrays.slice_ids, strict=True)
    }
    french = {(f"Un {tux.name(n)}.", "fr") for n in range(0, tux.FRENCH, 2)}
    assert said == french | {(f"A {tux.name(n)}.", "en") for n in range(tux.ENGLISH)}
    for told in (
        "48 stamps have no speech in 'fr'",
        "6 stamps have no caption in 'fr'",
        "57 stamps have no speech in 'en'",
        "6 clips in 'fr' have more than 8000 samples and are cut",
    ):
        assert told in caplog.text
    assert caplog.text.count("have no") == 3


def test_a_batch_has_encoded_captions_and_numbers_of_contents(load):
    arrays = load(speech=("fr", "en"), seconds=0.5)["train"]
    words = tokenizer.train(arrays.texts["text"])
    encode = functools.partial(tokenizer.encode, words, length=7)
    examples = ArrayExamples(arrays, ("image", "text", "speech"), {"text": encode})
    batch = next(iter(loader.eval_batches(examples, loader.Reading(len(arrays)))))
    ids, mask = encode(captions(arrays))
    np.testing.assert_array_equal(batch["text"], ids)
    np.testing.assert_array_equal(batch["text_mask"], mask)
    assert mask.any(1).all()
    for first, second in np.ndindex(len(arrays), len(arrays)):
        same = numbers(arrays)[first] == numbers(arrays)[second]
        assert (batch["image_id"][first] == batch["image_id"][second]) == same
        assert (batch["text_id"][first] == batch["text_id"][second]) == same
    assert len(set(batch["speech_id"])) == len(arrays)
    assert len(set(numbers(arrays))) < len(arrays)
    assert min(batch["image_id"].min(), batch["text_id"].min(), batch["speech_id"].min()) > 0


def test_equal_contents_have_equal_numbers_in_all_splits(tmp_path):
    source = tux.make(tmp_path / "stamps", 30)
    tux.draw(source, "town/other", tux.colour(4), caption=f" a  {tux.name(4)}.".upper())
    splits = tux_paint(dir=str(tmp_path), stamps=str(source)).values()
    for name in ("image", "text"):
        ids = np.concatenate([s.ids[name][s.index[name]] for s in splits])
        counts = np.unique(ids, return_counts=True)[1]
        assert sorted(counts) == [1] * 29 + [2]


def test_the_split_depends_on_the_names_alone(load, tmp_path):
    copy = tmp_path / "stamps"
    for number in reversed(range(2, 60, 3)):
        tux.draw(copy, tux.name(number), (0, number, 0))
    some = tux_paint(dir=str(tmp_path), stamps=str(copy), seed=7)
    every = load(seed=3)
    for split, arrays in some.items():
        assert set(numbers(arrays)) == set(numbers(every[split])) & set(range(2, 60, 3))

"""Numbers of joined digits: what the text says is what was joined; splits share nothing."""

import numpy as np
import pytest
import soundfile
from sklearn.datasets import load_digits

from mmjax.data.datasets import spoken_numbers, written_numbers
from mmjax.data.datasets.joined_digits import WORDS, Digits, join
from mmjax.errors import UserError

SPEAKERS = ("anna", "bert", "carl")


def test_what_is_joined_is_what_the_text_says():
    pieces = [np.full((2 + i, 3), i + 1, np.float32) for i in range(10)]
    source = Digits(pieces, np.arange(10), np.arange(10) % 2)
    rng = np.random.default_rng(0)
    made = join(source, (0, 1), rng, count=60, length=30, fewest=2, most=5, gaps=(1, 3))
    assert made.values.shape == (60, 30, 3)
    counts = set()
    for i, (row, real, text) in enumerate(zip(made.values, made.mask, made.texts, strict=True)):
        words, at = text.split(), 0
        for number, word in enumerate(words):
            digit = WORDS.index(word)
            assert digit % 2 == i % 2 == made.owners[i]
            gap = int(np.argmax(row[at:, 0] > 0))
            assert (number == 0 and gap == 0) or 1 <= gap <= 3
            at += gap
            assert (row[at : at + digit + 2] == digit + 1).all()
            at += digit + 2
        assert real.sum() == at == real.nonzero()[0].max() + 1
        assert not row[at:].any()
        assert made.counts[i] == len(words)
        counts.add(len(words))
    assert counts == {2, 3, 4, 5}


def pictures(split):
    """The digits in a split, as bytes: runs of columns between empty ones are not unique, so all
    windows of the width of a digit."""
    found = set()
    for row, real in zip(split.values["ink"], split.masks["ink"], strict=True):
        for start in range(int(real.sum()) - written_numbers.STEPS + 1):
            found.add(row[start : start + written_numbers.STEPS].tobytes())
    return found


def test_written_numbers_are_real_digits_of_one_split():
    splits = written_numbers.written_numbers(seed=3, train=200, validation=50, test=50)
    loaded = load_digits()
    known = {
        np.float32(image / 16).T.repeat(2, axis=0).tobytes(): (i % 10, WORDS[label])
        for i, (image, label) in enumerate(zip(loaded.images, loaded.target, strict=True))
    }
    parts = {"train": set(range(7)), "validation": {7}, "test": {8, 9}}
    for name, split in splits.items():
        seen = [known[window] for window in pictures(split) & known.keys()]
        assert {part for part, _ in seen} <= parts[name]
        words = {word for text in split.texts["text"] for word in text.split()}
        assert {word for _, word in seen} == words == set(WORDS)
        assert split.targets["label"].values.tolist() == [
            len(t.split()) - 2 for t in split.texts["text"]
        ]
        row = split.values["ink"][0]
        first = row[: written_numbers.STEPS].tobytes()
        assert known[first][1] == split.texts["text"][0].split()[0]


def test_the_same_seed_gives_the_same_numbers():
    one, again, other = (
        written_numbers.written_numbers(seed=seed, train=8, validation=1, test=1)["train"]
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one.values["ink"], again.values["ink"])
    assert one.texts["text"] == again.texts["text"] != other.texts["text"]


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """Three speakers say each digit twelve times: constants that tell digit, speaker and take."""
    folder = tmp_path_factory.mktemp("data") / spoken_numbers.FOLDER / "recordings"
    folder.mkdir(parents=True)
    for s, speaker in enumerate(SPEAKERS):
        for digit in range(10):
            for take in range(12):
                sound = np.full(1600, 1000 * (s + 1) + 50 * digit + take, np.int16)
                soundfile.write(folder / f"{digit}_{speaker}_{take}.wav", sound, 8000)
    (folder / "notes.txt").write_text("not a recording")
    return folder.parent.parent


def make(root, /, **options):
    options = {"train": 40, "validation": 20, "test": 20, "new_voices": ("bert",)} | options
    return spoken_numbers.spoken_numbers(dir=str(root), **options)


def heard(split):
    """Speaker, digit and take of every digit in each example."""
    for samples in split.values["speech"]:
        levels = np.round(samples * 2**15).astype(int)
        starts = np.flatnonzero((levels != 0) & (np.diff(levels, prepend=0) != 0))
        codes = levels[starts]
        yield [(c // 1000 - 1, c % 1000 // 50, c % 50) for c in codes.tolist()]


def test_spoken_numbers_say_their_text_by_one_voice_and_splits_share_nothing(recordings):
    splits = make(recordings)
    takes = {"train": range(10, 12), "validation": range(5, 10), "test": range(5)}
    for name, split in splits.items():
        for row, text, kind in zip(heard(split), split.texts["text"], split.slice_ids, strict=True):
            assert [WORDS[digit] for _, digit, _ in row] == text.split()
            (speaker,) = {speaker for speaker, _, _ in row}
            assert (speaker == 1) == (kind == 1)
            assert kind == 1 or {take for _, _, take in row} <= set(takes[name])
        assert split.slices == ("known voice", "new voice")
    assert np.bincount(splits["test"].slice_ids).tolist() == [20, 20]
    rows = zip(heard(splits["test"]), splits["test"].slice_ids, strict=True)
    assert {take for row, kind in rows if kind for _, _, take in row} == set(range(12))
    assert not splits["train"].slice_ids.any()


def test_loudness_is_drawn_for_training_only_and_never_cuts(recordings):
    plain, louder = make(recordings), make(recordings, louder=40.0)
    np.testing.assert_array_equal(plain["test"].values["speech"], louder["test"].values["speech"])
    assert plain["train"].texts["text"] == louder["train"].texts["text"]
    before, after = (s["train"].values["speech"] for s in (plain, louder))
    factor = np.abs(after).max(axis=1) / np.abs(before).max(axis=1)
    np.testing.assert_allclose(after, before * factor[:, None], atol=1e-6)
    assert factor.min() < 0.1
    assert factor.max() > 3
    assert np.abs(after).max() <= 1


def test_a_number_that_does_not_fit_has_fewer_digits(recordings):
    split = make(recordings, seconds=1.0)["train"]  # digits of 0.2 s: four at most with gaps
    assert {len(text.split()) for text in split.texts["text"]} <= {2, 3, 4}
    assert split.values["speech"].shape == (40, 8000)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"new_voices": ("dora",)}, r"new_voices=\('dora',\): choose some of anna, bert, carl"),
        ({"new_voices": SPEAKERS}, "not all"),
        ({"fewest": 3, "most": 2}, "fewest=3, most=2"),
        ({"louder": -1.0}, "0 to 60 dB"),
        ({"recordings": "nowhere"}, "no recordings in nowhere; run: git clone"),
    ],
)
def test_mistakes_are_one_line(recordings, options, words):
    with pytest.raises(UserError, match=words) as error:
        make(recordings, **options)
    assert "\n" not in str(error.value)


def test_a_damaged_recording_is_named(recordings, tmp_path):
    (tmp_path / "3_anna_1.wav").write_bytes(b"no sound")
    with pytest.raises(UserError, match="3_anna_1.wav cannot be read"):
        make(recordings, recordings=str(tmp_path))
    soundfile.write(tmp_path / "3_anna_1.wav", np.zeros(9, np.int16), 16000)
    with pytest.raises(UserError, match="expected sound at 8000 Hz, got 16000 Hz"):
        make(recordings, recordings=str(tmp_path))


def test_impossible_written_numbers_are_one_line():
    with pytest.raises(UserError, match="fewest=0, most=4: give 1 to 6 digits"):
        written_numbers.written_numbers(fewest=0)

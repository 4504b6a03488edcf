import functools
import itertools
import logging

import numpy as np
import pytest

from mmjax.data.pipeline import tokenizer as tokenizers
from mmjax.errors import UserError

TEXTS = ["What color is it?", "what SHAPE is it?", "is it red?"]


def test_ids_follow_frequency_then_alphabet():
    vocabulary = tokenizers.train(TEXTS).get_vocab()
    ranked = sorted(vocabulary, key=vocabulary.get)
    expected = ["[PAD]", "[UNK]", "?", "is", "it", "what", "color", "red", "shape"]
    assert ranked == expected


def test_the_order_of_the_texts_does_not_matter():
    every_order = itertools.permutations(TEXTS)
    assert len({tokenizers.train(texts).to_str() for texts in every_order}) == 1


def test_a_repeated_text_counts_each_time():
    vocabulary = tokenizers.train(["a b", "c", "c", "c", "b"]).get_vocab()
    assert sorted(vocabulary, key=vocabulary.get)[2:] == ["c", "b", "a"]


def test_encode_equals_a_lookup_word_by_word():
    trained = tokenizers.train(TEXTS)
    ids, mask = tokenizers.encode(trained, ["is it, blue?", "", "IS it", "is it, blue?"], 6)
    number = trained.get_vocab().__getitem__
    known = [number("is"), number("it"), 1, 1, number("?"), 0]
    np.testing.assert_array_equal(ids, [known, [0] * 6, [*known[:2], 0, 0, 0, 0], known])
    np.testing.assert_array_equal(mask.sum(1), [5, 0, 2, 5])
    assert ids.dtype == np.int32
    assert mask.dtype == bool
    # The mask is a prefix: nothing real stands behind padding.
    np.testing.assert_array_equal(mask, np.arange(6) < mask.sum(1, keepdims=True))


def test_a_mask_is_true_on_unknown_words_and_an_empty_list_has_no_rows():
    ids, mask = tokenizers.encode(tokenizers.train(TEXTS), ["unheard"], 2)
    assert ids.tolist() == [[1, 0]]
    assert mask.tolist() == [[True, False]]
    ids, mask = tokenizers.encode(tokenizers.train(TEXTS), [], 2)
    assert ids.shape == mask.shape == (0, 2)


def test_long_texts_are_cut_with_one_warning(caplog):
    trained = tokenizers.train(TEXTS)
    tokenizers._warn_of_cut.cache_clear()
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            ids, mask = tokenizers.encode(trained, TEXTS, 3)
    whole, _ = tokenizers.encode(trained, TEXTS, 5)
    np.testing.assert_array_equal(ids, whole[:, :3])
    assert mask.all()
    assert len(caplog.records) == 1
    assert "3 words" in caplog.text
    tokenizers.encode(trained, TEXTS, 5)
    assert len(caplog.records) == 1


def test_saved_and_loaded_it_encodes_the_same(tmp_path):
    trained = tokenizers.train([*TEXTS, "où est le château ?"])
    tokenizers.save(trained, tmp_path / "tokenizer.json")
    loaded = tokenizers.load(tmp_path / "tokenizer.json")
    encode = functools.partial(tokenizers.encode, texts=["Où is it?", "new word"], length=7)
    for first, second in zip(encode(trained), encode(loaded), strict=True):
        np.testing.assert_array_equal(first, second)
    assert [path.name for path in tmp_path.iterdir()] == ["tokenizer.json"]


@pytest.mark.parametrize(
    ("content", "part"),
    [(None, "No such file"), ("{", "damaged"), ("{}", "damaged"), ("\0", "damaged")],
)
def test_a_missing_or_damaged_file_is_named(tmp_path, content, part):
    path = tmp_path / "tokenizer.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError, match=part) as caught:
        tokenizers.load(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_tokenizer_of_another_kind_is_refused(tmp_path):
    other = tokenizers._word_level({"[UNK]": 0, "word": 1})
    tokenizers.save(other, tmp_path / "tokenizer.json")
    with pytest.raises(UserError, match="ids 0 and 1"):
        tokenizers.load(tmp_path / "tokenizer.json")

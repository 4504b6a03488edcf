import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.losses.targets.sequence import alignable
from mmjax.tasks.characters import alphabet, encode, tokens_needed


def test_texts_come_back():
    texts = ["seven three", "élan", "", "e\u0301lan", "ни шагу"]
    characters = alphabet(texts)
    assert characters[0] == ""
    assert list(characters[1:]) == sorted(set(characters[1:]))
    ids, mask = encode(texts, characters, 11)
    back = ["".join(characters[i] for i in row) for row in ids]
    assert back == ["seven three", "élan", "", "élan", "ни шагу"]  # NFC: one é
    assert mask.sum(axis=1).tolist() == [11, 4, 0, 4, 7]
    assert not ids[~mask].any()
    assert (ids[mask] > 0).all()


def test_a_text_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="'abc' has more than 2 characters"):
        encode(["abc"], alphabet(["abc"]), 2)
    with pytest.raises(KeyError):
        encode(["d"], alphabet(["abc"]), 2)


@pytest.mark.parametrize("text", ["", "a", "aa", "abba", "three", "aaaa"])
def test_tokens_needed_are_what_the_loss_takes(text):
    ids, mask = (jnp.asarray(rows) for rows in encode([text] * 10, alphabet(["abehrt"]), 6))
    frames = np.arange(10)
    fits = alignable(jnp.asarray(np.arange(10) < frames[:, None]), ids, mask)
    assert fits.tolist() == (frames >= tokens_needed(text)).tolist()

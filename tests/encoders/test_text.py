"""Text encoders against plain numpy, and what an id that is never real may not do."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.encoders.text.bag_of_words import BagOfWords
from mmjax.encoders.text.lstm import TextLstm
from mmjax.encoders.text.transformer import TextTransformer
from mmjax.types import UserError

ENCODERS = {
    "bag_of_words": BagOfWords(8, 11),
    "lstm": TextLstm(8, 11),
    "transformer": TextTransformer(8, 11),
}
every_encoder = pytest.mark.parametrize("name", ENCODERS)

IDS = jnp.asarray([[2, 5, 2, 2], [7, 1, 9, 9], [4, 4, 4, 4], [5, 3, 3, 0]])
MASK = jnp.asarray([[1, 1, 1, 0], [1, 1, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1]], bool)


def multi_hot(binary):
    bag = np.zeros((4, 11))
    for row in range(4):
        for word in np.asarray(IDS)[row][np.asarray(MASK)[row]]:
            bag[row, word] += 1
    return np.minimum(bag, 1) if binary else bag


@pytest.mark.parametrize("bag", ["binary", "counts"])
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_bag_of_words_is_dense_layers_over_a_multi_hot(bag, layers):
    encoder = BagOfWords(8, 11, layers=layers, bag=bag)
    variables = jax.jit(encoder.init)(jax.random.key(0), IDS)
    params = dict(variables["params"], bias=jnp.linspace(-1, 1, 8))
    x = np.tanh(multi_hot(bag == "binary") @ params["words"]["embedding"] + params["bias"])
    for layer in range(1, layers):
        dense = params[f"dense_{layer}"]
        x = np.tanh(x @ dense["kernel"] + dense["bias"])
    tokens = jax.jit(encoder.apply)({"params": params}, IDS, MASK)
    np.testing.assert_array_equal(tokens.mask[:, 0], [True, True, False, True])
    np.testing.assert_allclose(tokens.x[:, 0], x * np.asarray(tokens.mask), atol=1e-6)


def test_bag_of_words_does_not_know_order():
    encoder = BagOfWords(8, 11)
    variables = jax.jit(encoder.init)(jax.random.key(0), IDS)
    apply = jax.jit(encoder.apply)
    turned = apply(variables, IDS[:, ::-1], MASK[:, ::-1])
    np.testing.assert_allclose(turned.x, apply(variables, IDS, MASK).x, atol=1e-6)


@pytest.mark.parametrize("name", ["lstm", "transformer"])
def test_sequence_encoders_know_order(name):
    encoder = ENCODERS[name]
    variables = jax.jit(encoder.init)(jax.random.key(0), IDS)
    apply = jax.jit(encoder.apply)
    turned = apply(variables, IDS[:, ::-1]).x[1, ::-1]
    assert np.abs(turned - apply(variables, IDS).x[1]).max() > 1e-3


@every_encoder
def test_words_that_are_never_real_have_exactly_no_gradient(name):
    encoder = ENCODERS[name]
    variables = jax.jit(encoder.init)(jax.random.key(0), IDS)

    def loss(variables):
        return (encoder.apply(variables, IDS, MASK).x ** 3).sum()

    gradient = jax.jit(jax.grad(loss))(variables)["params"]["words"]["embedding"]
    real = np.unique(np.asarray(IDS)[np.asarray(MASK)])
    never = np.setdiff1d(np.arange(11), real)
    assert {4, 9} <= set(never)
    np.testing.assert_array_equal(gradient[never], 0)
    assert np.abs(gradient[real]).max(-1).min() > 0


@every_encoder
def test_padding_does_not_matter(name):
    encoder = ENCODERS[name]
    variables = jax.jit(encoder.init)(jax.random.key(0), IDS)
    apply = jax.jit(encoder.apply)
    short = apply(variables, IDS[:2, :3], MASK[:2, :3])
    long = apply(variables, IDS[:2], MASK[:2])
    count = short.x.shape[1]
    np.testing.assert_allclose(long.x[:, :count], short.x, atol=1e-5)


def test_lstm_last_is_the_state_after_the_last_real_word():
    every, last = TextLstm(8, 11), TextLstm(8, 11, output="last")
    variables = jax.jit(every.init)(jax.random.key(0), IDS)
    states = jax.jit(every.apply)(variables, IDS, MASK).x
    tokens = jax.jit(last.apply)(variables, IDS, MASK)
    for row, place in {0: 2, 1: 1, 3: 3}.items():
        np.testing.assert_array_equal(tokens.x[row, 0], states[row, place])
    np.testing.assert_array_equal(tokens.mask[:, 0], [True, True, False, True])


@every_encoder
def test_raw_text_is_refused(name):
    with pytest.raises(UserError, match="expected integer word ids, got float32"):
        ENCODERS[name].init(jax.random.key(0), jnp.zeros((1, 3)))


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        (BagOfWords(8, bag="tfidf"), "unknown bag 'tfidf': choose one of binary, counts"),
        (TextLstm(8, output="first"), "unknown output 'first': choose one of last, sequence"),
    ],
)
def test_unknown_options_list_the_known(encoder, message):
    with pytest.raises(UserError, match=message):
        encoder.init(jax.random.key(0), IDS)

"""Text encoders against plain numpy, and what an id that is never real may not do."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.encoders.text.bag_of_words import BagOfWords
from mmjax.encoders.text.cnn import TextCnn
from mmjax.encoders.text.recurrent import TextRecurrent
from mmjax.encoders.text.transformer import TextTransformer
from mmjax.errors import UserError
from mmjax.nn.layers.recurrent import Recurrent
from tests import drawn

ENCODERS = {
    "bag_of_words": BagOfWords(8, 11),
    "cnn": TextCnn(8, 11, channels=16),
    "lstm": TextRecurrent(8, 11),
    "transformer": TextTransformer(8, 11),
}
every_encoder = pytest.mark.parametrize("name", ENCODERS)

IDS = jnp.asarray([[2, 5, 2, 2], [7, 1, 9, 9], [4, 4, 4, 4], [5, 3, 3, 0]])
MASK = jnp.asarray([[1, 1, 1, 0], [1, 1, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1]], bool)


def parameters(encoder):
    return drawn.variables(encoder, IDS)


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
    variables = parameters(encoder)
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
    variables = parameters(encoder)
    apply = jax.jit(encoder.apply)
    turned = apply(variables, IDS[:, ::-1], MASK[:, ::-1])
    np.testing.assert_allclose(turned.x, apply(variables, IDS, MASK).x, atol=1e-6)


@pytest.mark.parametrize("name", ["cnn", "lstm", "transformer"])
def test_sequence_encoders_know_order(name):
    encoder = ENCODERS[name].clone(output="sequence")
    variables = parameters(encoder)
    apply = jax.jit(encoder.apply)
    turned = apply(variables, IDS[:, ::-1]).x[1, ::-1]
    assert np.abs(turned - apply(variables, IDS).x[1]).max() > 1e-3


@every_encoder
def test_words_that_are_never_real_have_exactly_no_gradient(name):
    encoder = ENCODERS[name]
    variables = parameters(encoder)

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
    variables = parameters(encoder)
    apply = jax.jit(encoder.apply)
    short = apply(variables, IDS[:2, :3], MASK[:2, :3])
    long = apply(variables, IDS[:2], MASK[:2])
    count = short.x.shape[1]
    np.testing.assert_allclose(long.x[:, :count], short.x, atol=1e-5)


@pytest.mark.parametrize("output", ["sequence", "last"])
def test_recurrent_is_recurrence_over_word_embeddings(output):
    encoder = TextRecurrent(8, 11, cell="gru", layers=2, bidirectional=True, output=output)
    params = parameters(encoder)["params"]
    tokens = jax.jit(encoder.apply)({"params": params}, IDS, MASK)
    words = jnp.where(MASK[..., None], params["words"]["embedding"][IDS], 0)
    layers = Recurrent(8, "gru", 2, bidirectional=True)
    hidden, last = jax.jit(layers.apply)({"params": params["recurrent"]}, words, MASK)
    if output == "sequence":
        np.testing.assert_allclose(tokens.x, hidden, atol=1e-6)
        np.testing.assert_array_equal(tokens.mask, MASK)
    else:
        np.testing.assert_allclose(tokens.x[:, 0], last, atol=1e-6)
        np.testing.assert_array_equal(tokens.mask[:, 0], [True, True, False, True])


@pytest.mark.parametrize("output", ["max", "sequence"])
def test_cnn_is_windows_of_real_words(output):
    encoder = TextCnn(8, 11, kernel_sizes=(1, 2, 5), channels=4, output=output, activation="tanh")
    mask = np.asarray([[1, 1, 1, 0], [0, 1, 0, 1], [0, 0, 0, 0], [1, 1, 1, 1]], bool)
    params = parameters(encoder)["params"]
    tokens = jax.jit(encoder.apply)({"params": params}, IDS, jnp.asarray(mask))
    words = np.where(mask[..., None], np.asarray(params["words"]["embedding"])[IDS], 0)
    for row in range(4):
        found = []
        for place in np.flatnonzero(mask[row]):
            channels = []
            for number, size in enumerate((1, 2, 5)):
                layer = params[f"convolution_{number}"]
                total = np.array(layer["bias"])
                for step, kernel in enumerate(np.asarray(layer["kernel"])):
                    source = place + step - (size - 1) // 2
                    if 0 <= source < 4:
                        total += words[row, source] @ kernel
                channels.append(np.tanh(total))
            found.append(np.concatenate(channels))
        if output == "max" and found:
            found = [np.max(found, axis=0)]
        last = params["projection"]
        expected = np.array([f @ last["kernel"] + last["bias"] for f in found]).reshape(-1, 8)
        real = np.asarray(tokens.mask[row])
        np.testing.assert_allclose(np.asarray(tokens.x[row])[real], expected, atol=1e-5)


@every_encoder
def test_raw_text_is_refused(name):
    with pytest.raises(UserError, match="expected integer word ids, got float32"):
        ENCODERS[name].init(jax.random.key(0), jnp.zeros((1, 3)))


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        (BagOfWords(8, bag="tfidf"), "unknown bag 'tfidf': choose one of binary, counts"),
        (TextRecurrent(8, output="max"), "unknown output 'max': choose one of last, sequence"),
        (TextRecurrent(8, cell="rnn"), "unknown cell 'rnn': choose one of gru, lstm"),
        (TextCnn(8, output="last"), "unknown output 'last': choose one of max, sequence"),
        (TextCnn(8, kernel_sizes=()), "kernel_sizes .*: give sizes of at least 1"),
        (TextTransformer(8, output="max"), "unknown output 'max': choose one of first, last, mean"),
        (TextTransformer(8, size="bert"), "unknown size 'bert': choose one of bert-base, bert-la"),
        (TextTransformer(8, norm="both"), "unknown norm 'both': choose one of post, pre"),
        (TextTransformer(8, positions="alibi"), "unknown positions 'alibi': choose one of learned"),
        (
            TextTransformer(8, heads=8, positions="rotary"),
            "8 does not split into 8 heads of an even",
        ),
    ],
)
def test_unknown_options_list_the_known(encoder, message):
    with pytest.raises(UserError, match=message):
        encoder.init(jax.random.key(0), IDS)

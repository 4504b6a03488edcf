"""The text transformer: embeddings by hand, the stack over real words only, places, outputs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.encoders.text.transformer import SIZES, TextTransformer
from mmjax.nn.layers.transformer import Transformer
from tests.encoders.test_text import IDS, parameters
from tests.encoders.text_specs import BERT

# Full, padded, empty, with a gap after padding on the left.
MASK = np.array([[1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 0, 0], [0, 1, 0, 1]], bool)


def run(encoder, ids=IDS, mask=MASK):
    return jax.jit(encoder.apply)(parameters(encoder), ids, jnp.asarray(mask))


def sinusoid(place, channel, width=8):
    angle = place / 10_000 ** (channel // 2 * 2 / width)
    return np.cos(angle) if channel % 2 else np.sin(angle)


SINCOS = np.array([[sinusoid(place, channel) for channel in range(8)] for place in range(4)])


@pytest.mark.parametrize("positions", ["learned", "none", "sincos"])
@pytest.mark.parametrize("norm", [False, True])
def test_what_enters_the_first_block(positions, norm):
    """Without a block, a post-norm stack gives out its embeddings."""
    encoder = TextTransformer(
        8, 11, 0, norm="post", positions=positions, token_types=2, embedding_norm=norm, epsilon=0.1
    )
    params = parameters(encoder)["params"]
    x = np.asarray(params["words"]["embedding"])[IDS] + params["token_types"][0]
    if positions != "none":
        learned = params.get("positions", {}).get("embedding")
        x = x + {"learned": learned, "sincos": SINCOS}[positions]
    if norm:
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 0.1)
        x = x * params["embedding_norm"]["scale"] + params["embedding_norm"]["bias"]
    tokens = run(encoder)
    np.testing.assert_allclose(tokens.x, np.where(MASK[..., None], x, 0), atol=1e-5)
    np.testing.assert_array_equal(tokens.mask, MASK)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("norm", ["pre", "post"])
def test_equals_the_stack_over_the_real_words_alone(norm, causal):
    options = {"norm": norm, "causal": causal, "activation": "quick_gelu", "epsilon": 1e-3}
    encoder = TextTransformer(8, 11, 2, 2, **options)
    params = parameters(encoder)["params"]
    stack = Transformer(2, 2, **options)
    x = params["words"]["embedding"][IDS] + params["positions"]["embedding"]
    tokens = run(encoder)
    for row in (0, 3):
        real = MASK[row]
        expected = jax.jit(stack.apply)({"params": params["transformer"]}, x[row][real][None])[0]
        np.testing.assert_allclose(tokens.x[row][real], expected, atol=1e-5)


@pytest.mark.parametrize("positions", ["rotary", "none"])
def test_relative_places_do_not_know_padding_on_the_left(positions):
    encoder = TextTransformer(8, 11, 1, 2, positions=positions)
    right = run(encoder, IDS[:1], np.array([[1, 1, 0, 0]], bool)).x[0, :2]
    moved = run(encoder, jnp.roll(IDS[:1], 2, axis=1), np.array([[0, 0, 1, 1]], bool)).x[0, 2:]
    np.testing.assert_allclose(moved, right, atol=1e-5)


@pytest.mark.parametrize("positions", ["learned", "rotary", "sincos"])
def test_order_matters(positions):
    encoder = TextTransformer(8, 11, 1, 2, positions=positions, output="mean")
    turned = run(encoder, IDS[:1, ::-1], MASK[:1]).x
    assert np.abs(turned - run(encoder, IDS[:1], MASK[:1]).x).max() > 1e-3


def test_learned_places_count_from_the_start_of_the_array():
    encoder = TextTransformer(8, 11, 0, norm="post")
    params = parameters(encoder)["params"]
    tokens = run(encoder, mask=np.array([[0, 0, 1, 1]] * 4, bool))
    expected = params["words"]["embedding"][IDS[0, 2]] + params["positions"]["embedding"][2]
    np.testing.assert_allclose(tokens.x[0, 2], expected, atol=1e-6)


def test_causal_words_do_not_see_what_follows():
    encoder = TextTransformer(8, 11, 2, 2, causal=True)
    variables = parameters(encoder)

    @jax.jit
    def read(ids):
        """[L V]: whether the token at place 1 has a gradient at each word of the table."""

        def token(variables):
            return (encoder.apply(variables, ids).x[0, 1] ** 3).sum()

        return jax.grad(token)(variables)["params"]["words"]["embedding"]

    gradient = read(jnp.asarray([[2, 5, 7, 9]]))
    np.testing.assert_array_equal(np.flatnonzero(np.abs(gradient).max(-1)), [2, 5])


@pytest.mark.parametrize("output", ["first", "last", "mean"])
def test_one_token_is_taken_from_the_real_ones(output):
    encoder = TextTransformer(8, 11, 1, 2)
    words = run(encoder).x
    tokens = run(encoder.clone(output=output))
    for row, real in enumerate(MASK):
        if real.any():
            found = np.asarray(words[row])[real]
            expected = {"first": found[0], "last": found[-1], "mean": found.mean(0)}[output]
            np.testing.assert_allclose(tokens.x[row, 0], expected, atol=1e-6)
    np.testing.assert_array_equal(tokens.mask[:, 0], MASK.any(1))


def test_a_size_is_its_options_and_a_projection():
    named = TextTransformer(6, 11, size="bert-tiny")
    params = parameters(named)["params"]
    options = BERT | {"layers": 2, "heads": 2, "output": "sequence"}
    plain = TextTransformer(128, 11, **options)
    inner = {k: v for k, v in params.items() if k != "projection"}
    x = jax.jit(plain.apply)({"params": inner}, IDS, jnp.asarray(MASK)).x
    last = params["projection"]
    expected = np.where(MASK[..., None], x @ last["kernel"] + last["bias"], 0)
    tokens = jax.jit(named.apply)({"params": params}, IDS, jnp.asarray(MASK))
    np.testing.assert_allclose(tokens.x, expected, rtol=1e-5, atol=1e-4)


def test_options_come_before_the_size():
    shapes = jax.eval_shape(
        TextTransformer(
            128, 11, 1, size="bert-tiny", token_types=0, embedding_norm=False, norm="pre"
        ).init,
        jax.random.key(0),
        IDS,
    )["params"]
    assert set(shapes) == {"words", "positions", "transformer"}
    assert set(shapes["transformer"]) == {"block_0", "norm"}


@pytest.mark.parametrize("size", SIZES)
def test_every_size_can_be_made(size):
    tokens = jax.eval_shape(
        TextTransformer(64, size=size).init_with_output, jax.random.key(0), IDS
    )[0]
    assert tokens.x.shape == (4, 1 if size.startswith("clip") else 4, 64)

"""Fusions by pairwise attention against plain numpy, one example at a time."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.errors import UserError
from mmjax.fusion.attention.co_attention import ParallelCoAttentionFusion
from mmjax.fusion.attention.cross_attention import CrossAttentionFusion
from mmjax.fusion.attention.mult import MultFusion
from mmjax.fusion.attention.vilbert import CoAttentionalTransformerFusion
from mmjax.types import Tokens
from tests.fusion.oracle import run
from tests.fusion.plain_transformer import block, dense, layer_norm, reading_layer, relu, softmax

# Rows: all modalities, text alone, image and text, audio and image, nothing.
MASKS = {
    "audio": np.array([[1, 1], [0, 0], [0, 0], [0, 1], [0, 0]], bool),
    "image": np.array([[1, 0, 1], [0, 0, 0], [1, 1, 1], [0, 1, 0], [0, 0, 0]], bool),
    "text": np.array([[1, 1, 0], [0, 1, 1], [1, 0, 0], [0, 0, 0], [0, 0, 0]], bool),
}
NAMES, ROWS, WIDTH, HEADS = tuple(MASKS), range(5), 8, 2


def inputs():
    random = np.random.default_rng(0)
    widths = {"audio": 5, "image": WIDTH, "text": WIDTH}
    return {
        name: Tokens(
            jnp.asarray(random.normal(size=(*MASKS[name].shape, widths[name])), jnp.float32),
            jnp.asarray(MASKS[name]),
        )
        for name in reversed(NAMES)
    }


def projected(params, row):
    """The real tokens of each modality of one row, in the width of the fusion."""
    real = {n: np.asarray(inputs()[n].x[row], np.float64)[MASKS[n][row]] for n in NAMES}
    return real | {"audio": dense(real["audio"], params["project_audio"])}


def embedded(params, row):
    """The same with modality embeddings and positions."""
    return {
        name: x + params[f"modality_{name}"] + params[f"positions_{name}"]["embedding"][mask[row]]
        for (name, x), mask in zip(projected(params, row).items(), MASKS.values(), strict=True)
    }


def doubles(params):
    return jax.tree.map(lambda p: np.asarray(p, np.float64), params)


def others(streams, name):
    """The tokens of the other present modalities in one sequence; None without any."""
    found = [x for other, x in streams.items() if other != name and len(x)]
    return np.concatenate(found) if found else None


def assert_tokens(fused, row, expected):
    real = np.asarray(fused.tokens.x[row])[np.asarray(fused.tokens.mask[row])]
    np.testing.assert_allclose(real, np.concatenate(expected), atol=2e-5)


@pytest.mark.parametrize("join", ["sum", "concat"])
def test_co_attention_equals_the_formulas(join):
    fused, params = run(ParallelCoAttentionFusion(WIDTH, hidden=6, join=join), inputs())
    params = doubles(params)
    for row in ROWS:
        xs = projected(params, row)
        present = [name for name in NAMES if len(xs[name])]
        hidden = {n: xs[n] @ params[f"hidden_{n}"]["kernel"] for n in present}
        readings = {n: [] for n in present}
        for a, b in itertools.combinations(present, 2):
            affinity = np.tanh(xs[a] @ params[f"affinity_{a}-{b}"]["kernel"] @ xs[b].T)
            readings[a].append(affinity @ hidden[b])
            readings[b].append(affinity.T @ hidden[a])
        vectors = {n: np.zeros(WIDTH) for n in NAMES}
        weights = {n: np.zeros(MASKS[n].shape[1]) for n in NAMES}
        for n in present:
            score = params[f"score_{n}"]["kernel"][:, 0]
            each = [softmax(np.tanh(hidden[n] + y) @ score) for y in readings[n] or [0]]
            weights[n][MASKS[n][row]] = np.mean(each, axis=0)
            vectors[n] = weights[n][MASKS[n][row]] @ xs[n]
        expected = sum(vectors.values())
        if join == "concat":
            blocks = [vectors[n] @ params["join"][n]["kernel"] for n in NAMES]
            expected = sum(blocks) + params["join"]["bias"]
        np.testing.assert_allclose(fused.pooled[row], expected, atol=1e-5)
        np.testing.assert_allclose(fused.tokens.x[row], list(vectors.values()), atol=1e-5)
        np.testing.assert_allclose(
            fused.extras["weights"][row], np.concatenate(list(weights.values())), atol=1e-5
        )


@pytest.mark.parametrize(
    ("layers", "norm", "pool", "join"),
    [(2, "pre", "mean", "multiply"), (1, "post", "first", "mean")],
)
def test_vilbert_streams_read_the_others_and_then_themselves(layers, norm, pool, join):
    module = CoAttentionalTransformerFusion(
        WIDTH, layers, HEADS, 2, norm=norm, pool=pool, join=join
    )
    fused, params = run(module, inputs())
    params = doubles(params)
    for row in ROWS:
        streams = {n: x for n, x in embedded(params, row).items() if len(x)}
        for layer in range(layers):
            streams = {
                n: reading_layer(
                    x,
                    params[f"layer_{layer}_{n}"],
                    others(streams, n),
                    HEADS,
                    post=norm == "post",
                )
                for n, x in streams.items()
            }
        if norm == "pre":
            streams = {n: layer_norm(x, params[f"norm_{n}"]) for n, x in streams.items()}
        vectors = [x.mean(0) if pool == "mean" else x[0] for x in streams.values()]
        if vectors:
            assert_tokens(fused, row, list(streams.values()))
        expected = {"mean": np.mean, "multiply": np.prod}[join](vectors or [[0] * WIDTH], axis=0)
        np.testing.assert_allclose(fused.pooled[row], expected, atol=2e-5)


@pytest.mark.parametrize(
    ("query", "self_attention", "norm", "pool"),
    [(None, False, "pre", "mean"), ("image", True, "post", "last")],
)
def test_cross_attention_reads_the_others(query, self_attention, norm, pool):
    module = CrossAttentionFusion(
        WIDTH, 2, HEADS, 2, query=query, self_attention=self_attention, norm=norm, pool=pool
    )
    fused, params = run(module, inputs())
    params = doubles(params)
    query = query or "audio"
    for row in ROWS:
        xs = embedded(params, row)
        x = xs[query] if len(xs[query]) else params[f"stand_in_{query}"][None]
        for layer in range(2):
            context = others(xs, query)
            x = reading_layer(x, params[f"layer_{layer}"], context, HEADS, post=norm == "post")
        if norm == "pre":
            x = layer_norm(x, params["norm"])
        assert_tokens(fused, row, [x])
        expected = x.mean(0) if pool == "mean" else x[-1]
        np.testing.assert_allclose(fused.pooled[row], expected, atol=1e-5)


def test_cross_attention_needs_the_query_that_is_named():
    with pytest.raises(
        UserError, match="no modality 'txt' to query by: choose one of audio, image"
    ):
        CrossAttentionFusion(WIDTH, query="txt").init(jax.random.key(0), inputs())


def sinusoid(place, width):
    angles = [place / 10_000 ** (2 * (i // 2) / width) for i in range(width)]
    return np.array([np.cos(a) if i % 2 else np.sin(a) for i, a in enumerate(angles)])


def convolve(x, kernel):
    """Zero-padded, [N F] by [k F D]; channels enter with the places around each place."""
    side = len(kernel) // 2
    padded = np.pad(x, ((side, side), (0, 0)))
    return np.array(
        [sum(padded[n + i] @ kernel[i] for i in range(len(kernel))) for n in range(len(x))]
    )


@pytest.mark.parametrize(("layers", "kernel_size", "pool"), [(1, 1, "mean"), (2, 3, "last")])
def test_mult_equals_the_formulas(layers, kernel_size, pool):
    given = inputs()
    module = MultFusion(WIDTH, layers, HEADS, 2, self_layers=1, kernel_size=kernel_size, pool=pool)
    fused, params = run(module, given)
    params = doubles(params)
    for row in ROWS:
        xs = {}
        for n in NAMES:
            x = np.where(MASKS[n][row][:, None], np.asarray(given[n].x[row], np.float64), 0)
            x = convolve(x, params[f"conv_{n}"]["kernel"])
            x = x + [sinusoid(place, WIDTH) for place in range(len(x))]
            if MASKS[n][row].any():
                xs[n] = x[MASKS[n][row]]
        expected, streams = params["pool"]["bias"], []
        for target, x in xs.items():
            y = x
            if len(xs) > 1:
                y = params[f"join_{target}"]["bias"]
                for source in xs.keys() - {target}:
                    pair, z = params[f"{target}_from_{source}"], x
                    for layer in range(layers):
                        z = reading_layer(z, pair[f"layer_{layer}"], xs[source], HEADS, act=relu)
                    z = layer_norm(z, pair["norm"])
                    y = y + z @ params[f"join_{target}"][source]["kernel"]
            own = params[f"self_{target}"]
            y = layer_norm(block(y, own["block_0"], HEADS, act=relu), own["norm"])
            streams.append(y)
            vector = y.mean(0) if pool == "mean" else y[-1]
            expected = expected + vector @ params["pool"][target]["kernel"]
        np.testing.assert_allclose(fused.pooled[row], expected, atol=2e-5)
        if streams:
            assert_tokens(fused, row, streams)


def test_mult_refuses_an_even_kernel():
    with pytest.raises(UserError, match="kernel_size 2 is not odd and positive"):
        MultFusion(WIDTH, kernel_size=2).init(jax.random.key(0), inputs())

"""Encoders of time series against plain numpy, one example at a time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.encoders.series.mlp import SeriesMlp
from mmjax.encoders.series.recurrent import SeriesRecurrent
from mmjax.encoders.series.steps import fold_steps
from mmjax.encoders.series.transformer import SeriesTransformer
from mmjax.errors import UserError
from mmjax.nn.layers.recurrent import Recurrent
from mmjax.nn.layers.transformer import Transformer
from tests import drawn

VALUE = np.random.default_rng(0).normal(size=(4, 5, 3)).astype(np.float32)
MASK = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [0, 0, 0, 0, 0], [0, 1, 0, 0, 1]], bool)
MEAN, STD = (0.5, -1.0, 2.0), (1.0, 2.0, 0.5)
STANDARD = {"feature_mean": MEAN, "feature_std": STD}
NORMAL = np.where(MASK[..., None], (VALUE - np.array(MEAN)) / np.array(STD), 0)


def parameters(encoder):
    return drawn.variables(encoder, jnp.asarray(VALUE))


def run(encoder, value=VALUE, mask=MASK):
    return jax.jit(encoder.apply)(parameters(encoder), jnp.asarray(value), jnp.asarray(mask))


@pytest.mark.parametrize("output", ["sequence", "mean"])
def test_mlp_is_dense_layers_over_each_step(output):
    encoder = SeriesMlp(8, (5, 4), activation="tanh", output=output, **STANDARD)
    params = parameters(encoder)["params"]
    tokens = run(encoder)
    for row, real in enumerate(MASK):
        x = NORMAL[row][real]
        for layer in ("dense_0", "dense_1"):
            x = np.tanh(x @ params[layer]["kernel"] + params[layer]["bias"])
        x = x @ params["projection"]["kernel"] + params["projection"]["bias"]
        if output == "mean" and len(x):
            x = x.mean(0, keepdims=True)
        found = np.asarray(tokens.x[row])[np.asarray(tokens.mask[row])]
        np.testing.assert_allclose(found, x, atol=1e-5)


def test_patches_are_real_if_any_step_is():
    x, real = fold_steps(jnp.asarray(NORMAL, jnp.float32), jnp.asarray(MASK), 2)
    expected = [[1, 1, 1], [1, 1, 0], [0, 0, 0], [1, 0, 1]]
    np.testing.assert_array_equal(real, np.array(expected, bool))
    assert x.shape == (4, 3, 6)
    np.testing.assert_allclose(x[0, 1], NORMAL[0, 2:4].reshape(-1), atol=1e-6)
    np.testing.assert_allclose(x[0, 2], [*NORMAL[0, 4], 0, 0, 0], atol=1e-6)


@pytest.mark.parametrize("output", ["sequence", "mean"])
def test_transformer_runs_over_the_real_patches(output):
    """One example without its masked patches, through the same parameters by hand."""
    encoder = SeriesTransformer(8, 2, layers=1, heads=2, output=output, **STANDARD)
    params = parameters(encoder)["params"]
    tokens = run(encoder)
    stack = jax.jit(Transformer(1, 2).apply)
    for row, patches in {0: [0, 1, 2], 1: [0, 1], 3: [0, 2]}.items():
        steps = np.concatenate([NORMAL[row], np.zeros((1, 3))])
        x = np.stack([steps[2 * p : 2 * p + 2].reshape(-1) for p in patches])
        x = x @ params["patches"]["kernel"] + params["patches"]["bias"]
        x = x + params["positions"]["embedding"][np.array(patches)]
        x = np.asarray(stack({"params": params["transformer"]}, x[None])[0])
        found = np.asarray(tokens.x[row])[np.asarray(tokens.mask[row])]
        expected = x if output == "sequence" else x.mean(0, keepdims=True)
        np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("positions", ["learned", "rotary", "sincos", "none"])
def test_transformer_knows_the_order_of_patches_by_its_positions(positions):
    encoder = SeriesTransformer(8, 1, layers=1, heads=2, positions=positions, output="mean")
    full = np.ones_like(MASK)
    change = np.abs(run(encoder, VALUE[:, ::-1], full).x - run(encoder, VALUE, full).x).max()
    assert change < 1e-5 if positions == "none" else change > 1e-3


@pytest.mark.parametrize("output", ["sequence", "last"])
def test_recurrent_is_recurrence_over_standardised_steps(output):
    encoder = SeriesRecurrent(
        8, cell="gru", layers=2, bidirectional=True, output=output, **STANDARD
    )
    params = parameters(encoder)["params"]
    tokens = run(encoder)
    layers = Recurrent(8, "gru", 2, bidirectional=True)
    hidden, last = jax.jit(layers.apply)(
        {"params": params["recurrent"]}, jnp.asarray(NORMAL, jnp.float32), jnp.asarray(MASK)
    )
    if output == "sequence":
        np.testing.assert_allclose(tokens.x, hidden, atol=1e-5)
        np.testing.assert_array_equal(tokens.mask, MASK)
    else:
        np.testing.assert_allclose(tokens.x[:, 0], last, atol=1e-5)
        np.testing.assert_array_equal(tokens.mask[:, 0], MASK.any(1))


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        (SeriesMlp(8, feature_mean=(1.0,)), "feature_mean: 1 numbers for 3 features"),
        (SeriesMlp(8, output="max"), "unknown output 'max': choose one of mean, sequence"),
        (SeriesTransformer(8, patch=0), "patch: 0 steps: choose at least one"),
        (SeriesTransformer(8, output="max"), "unknown output 'max': choose one of mean, sequence"),
        (SeriesTransformer(8, positions="grid"), "unknown positions 'grid': choose one of learned"),
        (SeriesRecurrent(8, output="mean"), "unknown output 'mean': choose one of last, sequence"),
        (SeriesRecurrent(7, bidirectional=True), "recurrent: width 7 does not split into two"),
    ],
)
def test_mistakes_are_told_in_one_line(encoder, message):
    with pytest.raises(UserError, match=message):
        encoder.init(jax.random.key(0), jnp.asarray(VALUE))


def test_integers_are_refused():
    with pytest.raises(UserError, match="features: expected float32, got int"):
        SeriesMlp(8).init(jax.random.key(0), jnp.zeros((1, 2, 3), int))

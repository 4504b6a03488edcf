"""Encoders of feature vectors against plain numpy; a missing feature is not a zero."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.encoders.vector.mlp import VectorMlp
from mmjax.encoders.vector.transformer import VectorTransformer
from mmjax.errors import UserError
from mmjax.nn.layers.transformer import Transformer
from tests import drawn

VALUE = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
MASK = np.array([[1, 1, 1], [1, 0, 1], [0, 0, 0], [0, 1, 0]], bool)
MEAN, STD = (0.5, -1.0, 2.0), (1.0, 2.0, 0.5)


def parameters(encoder):
    return drawn.variables(encoder, jnp.asarray(VALUE))


def run(encoder, value=VALUE):
    return jax.jit(encoder.apply)(parameters(encoder), jnp.asarray(value), jnp.asarray(MASK))


def test_mlp_is_dense_layers_over_features_and_what_is_missing():
    encoder = VectorMlp(8, (5, 4), activation="tanh", feature_mean=MEAN, feature_std=STD)
    params = parameters(encoder)["params"]
    tokens = run(encoder)
    for row in range(4):
        features = [(VALUE[row, f] - MEAN[f]) / STD[f] if MASK[row, f] else 0.0 for f in range(3)]
        x = np.array([*features, *(~MASK[row]).astype(float)])
        for layer in ("dense_0", "dense_1"):
            x = np.tanh(x @ params[layer]["kernel"] + params[layer]["bias"])
        x = x @ params["projection"]["kernel"] + params["projection"]["bias"]
        np.testing.assert_allclose(tokens.x[row, 0], x if MASK[row].any() else 0, atol=1e-5)
    np.testing.assert_array_equal(tokens.mask[:, 0], MASK.any(1))


@pytest.mark.parametrize("output", ["sequence", "class", "mean"])
def test_transformer_runs_over_the_features_that_are_there(output):
    """One example without its missing features, through the same parameters by hand."""
    encoder = VectorTransformer(
        8, layers=1, heads=2, mlp_ratio=2, output=output, feature_mean=MEAN, feature_std=STD
    )
    params = parameters(encoder)["params"]
    tokens = run(encoder)
    stack = jax.jit(Transformer(1, 2, mlp_ratio=2).apply)
    for row, real in enumerate(MASK):
        if not real.any():
            continue
        x = (VALUE[row] - np.array(MEAN)) / np.array(STD)
        x = (x[:, None] * params["scale"] + params["bias"])[real]
        if output == "class":
            x = np.concatenate([params["class_token"][None], x])
        expected = np.asarray(stack({"params": params["transformer"]}, jnp.asarray(x)[None])[0])
        found = np.asarray(tokens.x[row])[np.asarray(tokens.mask[row])]
        wanted = {"sequence": expected, "class": expected[:1], "mean": expected.mean(0)[None]}
        np.testing.assert_allclose(found, wanted[output], atol=1e-5)


@pytest.mark.parametrize("encoder", [VectorMlp(8), VectorTransformer(8, output="mean")])
def test_missing_differs_from_zero(encoder):
    variables = parameters(encoder)
    zeros = jnp.zeros((1, 3))
    there = jax.jit(encoder.apply)(variables, zeros, jnp.ones((1, 3), bool)).x
    missing = jax.jit(encoder.apply)(variables, zeros, jnp.asarray([[True, False, True]])).x
    assert np.abs(there - missing).max() > 1e-2


def test_tokenizer_starts_uniform():
    encoder = VectorTransformer(64, output="class")
    variables = jax.jit(encoder.init)(jax.random.key(0), jnp.asarray(VALUE))
    for name in ("scale", "bias", "class_token"):
        drawn = variables["params"][name]
        assert 0.1 < np.abs(drawn).max() <= 1 / 8
        np.testing.assert_allclose(drawn.std(), 1 / 8 / 3**0.5, rtol=0.25)


@pytest.mark.parametrize(
    ("encoder", "value", "message"),
    [
        (VectorMlp(8), VALUE.astype(int), "features: expected float32, got int"),
        (VectorMlp(8, feature_mean=(1.0,)), VALUE, "feature_mean: 1 numbers for 3 features"),
        (VectorTransformer(8, feature_std=(1.0, 2.0)), VALUE, "feature_std: 2 numbers for 3"),
        (VectorTransformer(8, feature_std=(1.0, 0.0, 2.0)), VALUE, "has to be positive"),
        (VectorTransformer(8, output="max"), VALUE, "unknown output 'max': choose one of class"),
        (VectorMlp(8, activation="max"), VALUE, "unknown activation 'max'"),
    ],
)
def test_mistakes_are_told_in_one_line(encoder, value, message):
    with pytest.raises(UserError, match=message):
        encoder.init(jax.random.key(0), jnp.asarray(value))

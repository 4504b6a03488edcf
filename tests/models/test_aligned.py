"""The aligned model: embeddings of length one, shared rows, what is absent."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.encoders.text.bag_of_words import BagOfWords
from mmjax.encoders.vector.mlp import VectorMlp
from mmjax.errors import UserError
from mmjax.models.aligned import AlignedModel
from mmjax.models.heads import Projection
from mmjax.nn.layers.unit_length import unit_length
from mmjax.types import Input

B, L, F, E = 6, 4, 5, 8
MODEL = AlignedModel(
    encoders={"text": BagOfWords(16, vocabulary_size=30), "vector": VectorMlp(16)},
    projections={"text": Projection(E), "vector": Projection(E, hidden=(12,))},
    temperature=0.2,
    bias=-3.0,
)


def inputs(text_mask=None, index=None):
    rng = np.random.default_rng(0)
    ids = jnp.asarray(rng.integers(30, size=(B, L)), jnp.int32)
    rows = B if index is None else 2
    vector = jnp.asarray(rng.normal(size=(rows, F)), jnp.float32)
    real = jnp.ones((B, L), bool) if text_mask is None else text_mask
    return {"text": Input(ids, real), "vector": Input(vector, jnp.ones((rows, F), bool), index)}


@pytest.fixture(scope="module")
def variables():
    return jax.jit(MODEL.init)(jax.random.PRNGKey(0), inputs())


def test_embeddings_are_the_projections_with_length_one(variables):
    outputs = MODEL.apply(variables, inputs())
    for name in ("text", "vector"):
        x, unit = outputs[f"projection/{name}"], outputs[f"embedding/{name}"]
        assert unit.shape == (B, E)
        np.testing.assert_allclose(jnp.linalg.norm(unit, axis=1), 1, rtol=1e-5)
        np.testing.assert_allclose(unit * jnp.linalg.norm(x, axis=1)[:, None], x, rtol=1e-5)
        assert outputs[f"embedding/{name}_mask"].all()


def test_temperature_and_bias_begin_where_they_are_said_to_and_learn(variables):
    def read(scale, bias):
        params = variables["params"] | {"logit_scale": scale, "logit_bias": bias}
        outputs = MODEL.apply({"params": params}, inputs())
        return outputs["temperature"], outputs["bias"]

    start = variables["params"]["logit_scale"], variables["params"]["logit_bias"]
    np.testing.assert_allclose(read(*start), [0.2, -3.0], rtol=1e-6)
    slope = jax.grad(lambda scale: read(scale, start[1])[0])(start[0])
    np.testing.assert_allclose(slope, -0.2, rtol=1e-5)
    assert read(jnp.float32(50.0), start[1])[0] == np.float32(0.01)  # CLIP's limit


def test_what_is_absent_has_zeros_no_mask_and_no_gradient(variables):
    mask = jnp.ones((B, L), bool).at[2].set(False)
    # With a bias, nothing would come out as something.
    params = jax.tree.map(lambda x: x + 0.5, variables["params"])
    outputs = MODEL.apply({"params": params}, inputs(mask))
    assert (outputs["projection/text"][2] == 0).all()
    assert outputs["embedding/text_mask"].tolist() == [True, True, False, True, True, True]
    assert (outputs["embedding/text"][2] == 0).all()

    def absent(params):
        return jnp.sum(MODEL.apply({"params": params}, inputs(mask))["embedding/text"][2])

    assert all((g == 0).all() for g in jax.tree.leaves(jax.grad(absent)(params)))


def test_rows_are_shared_and_a_modality_may_be_left_out(variables):
    index = jnp.array([0, 1, 1, 0, 1, 0])
    outputs = MODEL.apply(variables, inputs(index=index))
    vectors = outputs["embedding/vector"]
    np.testing.assert_array_equal(vectors, vectors[jnp.array([0, 1])][index])
    alone = MODEL.apply(variables, {"text": inputs()["text"]})
    assert {name for name in alone if name.startswith("embedding")} == {
        "embedding/text",
        "embedding/text_mask",
    }
    with pytest.raises(UserError, match="no encoder for"):
        MODEL.apply(variables, {"audio": inputs()["text"]})


def test_unit_length_of_nothing_is_nothing():
    zero = jnp.zeros((2, 3)).at[1, 0].set(2.0)
    np.testing.assert_array_equal(unit_length(zero), [[0, 0, 0], [1, 0, 0]])
    gradient = jax.grad(lambda x: unit_length(x).sum())(zero)
    assert np.isfinite(gradient).all()
    assert (gradient[0] == 0).all()

"""Heads of the fused model that read some of the modalities, through fusions of their own."""

import functools

import jax
import numpy as np
import pytest

from mmjax.errors import UserError
from mmjax.fusion.pooling.concat import ConcatFusion
from mmjax.models.fused import FusedModel, trunk_name
from mmjax.models.heads import ClassificationHead
from tests.models.test_fused import MODELS, content, inputs, parameters, presence


@functools.cache
def apart():
    """A model one of whose heads reads the text alone, and its variables."""
    image, text, fusion = MODELS["concat"]
    heads = {name: ClassificationHead(3) for name in ("both", "text", "again")}
    reads = {"text": ("text",), "again": ("text",)}
    trunks = {trunk_name(("text",)): ConcatFusion(16)}
    encoders = {"image": image, "text": text}
    built = FusedModel(encoders, fusion, heads, reads=reads, trunks=trunks)
    return built, parameters(built, inputs(content(), presence()))


def test_a_head_sees_nothing_of_a_modality_that_it_does_not_read():
    built, variables = apart()
    run = jax.jit(built.apply)
    (image, text), there = content(), presence()
    seen = run(variables, inputs((image, text), there))
    other = run(variables, inputs((image[::-1], text), there))
    np.testing.assert_array_equal(seen["text"], other["text"])
    np.testing.assert_array_equal(seen["again"], other["again"])
    assert np.abs(seen["both"] - other["both"]).max() > 1e-3

    def loss(variables, name):
        return (built.apply(variables, inputs((image, text), there))[name] ** 2).sum()

    gradient = jax.jit(jax.grad(loss), static_argnums=1)(variables, "text")["params"]
    reached = {name for name, of in gradient.items() if any(map(np.any, jax.tree.leaves(of)))}
    assert reached == {"encoders_text", "trunks_text", "heads_text"}


def test_heads_that_read_the_same_share_a_trunk_and_no_fusion_is_made_for_nothing():
    built, variables = apart()
    names = {name for name in variables["params"] if "trunk" in name or name == "fusion"}
    assert names == {"fusion", "trunks_text"}
    own = built.clone(heads={"text": ClassificationHead(3)}, reads={"text": ("text",)})
    made = jax.eval_shape(own.init, jax.random.key(0), inputs(content(), presence()))["params"]
    assert set(made) == {"encoders_image", "encoders_text", "trunks_text", "heads_text"}


def test_a_head_whose_modalities_are_left_out_answers_as_if_they_were_masked():
    built, variables = apart()
    there, real = presence()
    given = inputs(content(), (there, real & False))
    masked = jax.jit(built.apply)(variables, given)
    left_out = jax.jit(built.apply)(variables, {"image": given["image"]})
    for name in ("text", "both"):
        np.testing.assert_allclose(left_out[name], masked[name], atol=1e-5)


@pytest.mark.parametrize("option", ["mixup", "modality_dropout"])
def test_what_is_done_to_all_modalities_does_not_go_with_trunks(option):
    built, variables = apart()
    with pytest.raises(UserError, match=r"some read less \(text, again\)"):
        built.clone(**{option: 0.5}).apply(variables, inputs(content(), presence()))

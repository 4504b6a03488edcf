"""A published model in and out, without the library that published it."""

import json

import jax
import numpy as np
import pytest

from mmjax import interop
from mmjax.errors import UserError
from mmjax.interop.formats import safetensors
from mmjax.interop.formats.open_weights import open_weights
from mmjax.models import data_parallel
from tests.interop import fakes

DEVICES = 8
PIXELS = np.random.default_rng(1).normal(size=(2, 3, 16, 16)).astype(np.float32)
IDS = np.array([[0, 5, 6, 1], [0, 7, 1, 1]])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return fakes.new_clip(tmp_path_factory)


@pytest.fixture(scope="module")
def model(folder):
    return interop.load(folder)


def test_every_number_comes_in_and_goes_out_as_it_was(folder, model, tmp_path):
    given = open_weights(folder)
    interop.save(model, tmp_path / "copy")
    returned = open_weights(tmp_path / "copy")
    assert returned.keys() == given.keys()
    for name, tensor in given.items():
        np.testing.assert_array_equal(returned[name].read(), tensor.read(), err_msg=name)
    for name in ("config.json", "preprocessor_config.json", "tokenizer.json"):
        assert (tmp_path / "copy" / name).read_bytes() == (folder / name).read_bytes()
    assert model.report.parameters == sum(t.read().size for t in given.values())
    assert f"{model.report.parameters:,} parameters" in str(model.report)


def test_the_rules_reach_every_variable_once(model):
    paths = [rule.ours for rule in model.architecture.rules]
    leaves = jax.tree_util.tree_leaves_with_path(model.variables)
    assert sorted(paths) == sorted("/".join(key.key for key in path) for path, _ in leaves)


def test_outputs_are_by_name_and_attribute(model):
    out = model(pixel_values=PIXELS, input_ids=IDS, output_hidden_states=True)
    assert out.image_embeds.shape == (2, 16)
    assert out["logits_per_image"] is out.logits_per_image
    assert len(out.vision_model_output.hidden_states) == 3
    assert "hidden_states" not in model(pixel_values=PIXELS).vision_model_output
    alone = model(input_ids=IDS)
    assert set(alone) == {"text_embeds", "text_model_output"}
    np.testing.assert_array_equal(alone.text_embeds, out.text_embeds)
    with pytest.raises(AttributeError, match="there is no 'loss'"):
        _ = out.loss


def test_all_devices_share_the_rows_of_a_batch(folder, model, monkeypatch):
    given = {"pixel_values": np.repeat(PIXELS, DEVICES // 2, 0), "input_ids": np.tile(IDS, (8, 1))}
    expected = model(**given)
    monkeypatch.setattr(data_parallel, "MIN_VALUES", 1)
    found = interop.load(folder)(**given, output_hidden_states=True)
    assert len(expected.text_embeds.sharding.device_set) == 1
    assert len(found.text_embeds.sharding.device_set) == DEVICES
    for name in ("image_embeds", "text_embeds", "logits_per_image"):
        np.testing.assert_allclose(found[name], expected[name], atol=1e-5)


def test_bfloat16_computes_what_float32_does(folder, model):
    half = interop.load(folder, dtype="bfloat16")
    assert all(x.dtype == np.float32 for x in jax.tree.leaves(half.params))
    ours, theirs = (m(pixel_values=PIXELS, input_ids=IDS) for m in (half, model))
    cosines = np.sum(np.asarray(ours.image_embeds) * theirs.image_embeds, axis=1)
    assert (cosines > 0.999).all()
    assert (cosines < 1 - 1e-7).any()


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, "give pixel_values or input_ids"),
        ({"pixels": PIXELS}, "no input 'pixels'; there is input_ids, pixel_values"),
        ({"pixel_values": PIXELS[0]}, r"floats with 4 axes .* got float32 \[3, 16, 16\]"),
        ({"pixel_values": PIXELS.astype(np.uint8)}, "floats with 4 axes .* got uint8"),
        ({"input_ids": IDS.astype(np.float32)}, "whole numbers with 2 axes .* got float32"),
        ({"input_ids": np.zeros((1, 17), int)}, "17 words, but the model takes 16"),
    ],
)
def test_wrong_inputs_are_named(model, inputs, message):
    with pytest.raises(UserError, match=message):
        model(**inputs)


def changed(folder, tmp_path, config=None, tensors=None):
    """A copy of the folder with another config or other tensors."""
    interop.save(interop.load(folder), tmp_path / "broken")
    if config is not None:
        (tmp_path / "broken" / "config.json").write_text(config)
    if tensors is not None:
        own = {name: t.read() for name, t in open_weights(folder).items()}
        safetensors.write(tmp_path / "broken" / "model.safetensors", tensors(own))
    return tmp_path / "broken"


def with_text(**options):
    return json.dumps(fakes.CLIP | {"text_config": fakes.CLIP["text_config"] | options})


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("{", "config.json cannot be read as JSON"),
        ("[1]", "config.json holds no table"),
        ("{}", "tensors such as .* is no model that mmjax can load"),
        (json.dumps(fakes.CLIP | {"model_type": "llama"}), "model_type 'llama' is no model"),
        (with_text(num_attention_heads=5), "a width of 24 does not split into 5 heads"),
        (with_text(hidden_size="24"), "config.json has hidden_size='24'"),
        (with_text(hidden_act="mish"), "activation 'mish' in config.json is not one of gelu"),
        (with_text(num_hidden_layers=3), "16 of .* tensors .* are missing"),
        (with_text(vocab_size=41), r"token_embedding.weight' has the shape \[40, 24\], which"),
        (with_text(intermediate_size=47), r"mlp.fc1.weight' has the shape \[48, 24\], which"),
        (json.dumps(fakes.CLIP | {"text_config": 3}), "'text_config' in config.json is not a tabl"),
    ],
)
def test_a_wrong_config_is_said_in_a_line(folder, tmp_path, config, message):
    path = changed(folder, tmp_path, config=config)
    with pytest.raises(UserError, match=message) as caught:
        interop.load(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_quantised_and_superfluous_tensors(folder, tmp_path):
    name = "visual_projection.weight"
    path = changed(folder, tmp_path, tensors=lambda t: t | {name: t[name].astype(np.int8)})
    with pytest.raises(UserError, match="'visual_projection.weight' is int8: quantised"):
        interop.load(path)
    extra = {"extra": np.ones(3, np.float16)}
    path = changed(folder, tmp_path, tensors=lambda t: t | extra)
    model = interop.load(path)
    assert model.report.unexpected == ["extra"]
    assert "left over in the file: 1 (extra)" in str(model.report)
    interop.save(model, tmp_path / "copy")
    returned = open_weights(tmp_path / "copy")["extra"].read()
    np.testing.assert_array_equal(returned, extra["extra"], strict=True)
    twice = "text_model.embeddings.position_ids"
    path = changed(folder, tmp_path, tensors=lambda t: t | {twice: np.arange(4)})
    assert interop.load(path).report.buffers == [twice]


@pytest.mark.parametrize("kind", [np.float16, "bfloat16"])
def test_short_floats_come_in_as_float32(folder, tmp_path, kind):
    dtype = np.dtype(jax.numpy.bfloat16 if kind == "bfloat16" else kind)

    def shorten(tensors):
        return {name: x.astype(dtype) for name, x in tensors.items()}

    model = interop.load(changed(folder, tmp_path, tensors=shorten))
    own = open_weights(folder)["visual_projection.weight"].read().T
    kernel = model.params["vision"]["projection"]["kernel"]
    assert kernel.dtype == np.float32
    np.testing.assert_array_equal(kernel, own.astype(dtype).astype(np.float32))


def test_a_model_is_not_saved_over_itself(folder, model):
    with pytest.raises(UserError, match="is where the model came from"):
        interop.save(model, folder)

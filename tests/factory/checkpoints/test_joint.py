"""config.model: what trains of it, what its losses read, and what is refused."""

import json
import logging

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from ml_collections import ConfigDict

import mmjax
from mmjax import factory
from mmjax.errors import UserError
from mmjax.factory import make_training
from mmjax.factory.checkpoints import delta, joint, pretrained
from mmjax.factory.checkpoints.export import export
from mmjax.interop.formats.open_weights import open_weights
from mmjax.losses.alignment import contrastive
from tests.interop import fakes
from tests.joint_config import config_of

OWN = {"kind": "vector", "name": "mlp", "hidden": (5,)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return fakes.new_clip(tmp_path_factory)


def made(config):
    model = factory.model(config, classes=0, vocabulary_size=0)
    shapes = jax.eval_shape(model.init, jax.random.key(0), factory.example_inputs(config))
    return model, shapes["params"]


def training(config):
    """The first parts of the paths of all that trains."""
    _, params = made(config)
    free = factory.trains(config, params)
    free = jax.tree.map(lambda _: True, params) if free is None else free
    flat = flatten_dict(free, sep="/")
    return {name for name, trains in flat.items() if trains}


def tops(names):
    return {name.split("/")[0] for name in names}


ALL = {"encoders_image", "encoders_text", "projections_image", "projections_text", "logit_scale"}


@pytest.mark.parametrize(
    ("freeze", "tuning", "expected"),
    [
        (False, {"name": "full"}, ALL),
        (("image",), {"name": "full"}, ALL - {"encoders_image"}),
        (("image", "text"), {"name": "full"}, ALL - {"encoders_image", "encoders_text"}),
        (("text", "projections"), {"name": "full"}, {"encoders_image", "logit_scale"}),
        (("temperature",), {"name": "full"}, ALL - {"logit_scale"}),
        (False, {"name": "linear_probe"}, ALL - {"encoders_image", "encoders_text"}),
        (True, {"name": "lora", "rank": 2, "where": "encoders_text/.*qkv"}, {"lora"}),
    ],
)
def test_any_part_stays_or_learns(folder, freeze, tuning, expected):
    assert tops(training(config_of(folder, freeze=freeze, tuning=tuning))) == expected


def test_another_kind_is_aligned_with_it(folder):
    config = config_of(folder, freeze=True, width=8, encoders={"touch": OWN})
    config.modalities = ("image", "text", "touch")
    config.data.shapes = {"touch": (3,)}
    assert tops(training(config)) == {"encoders_touch", "projections_touch"}
    model, params = made(config)
    assert params["projections_touch"]["embedding"]["kernel"].shape == (8, 16)
    out = jax.eval_shape(model.apply, {"params": params}, factory.example_inputs(config))
    assert out["embedding/touch"].shape == out["embedding/image"].shape == (1, 16)


def test_losses_read_and_train_its_temperature(folder):
    config = config_of(folder)
    config.losses = {"info_nce": {}, "fixed": {"name": "info_nce", "temperature": 0.5}}
    (task,) = factory.tasks(config).values()
    model = factory.model(config, classes=0, vocabulary_size=0)
    params = joint.first_variables(config)[0]["params"]
    x = np.random.default_rng(0).normal(size=(2, 3, 16)).astype(np.float32)
    values = {"embedding/image": jnp.asarray(x[0]), "embedding/text": jnp.asarray(x[1])}

    def loss(scale, name):
        own = {**params, "logit_scale": scale}
        out = model.apply({"params": own}, factory.example_inputs(config))
        assert "bias" not in out
        rows = task.losses({**out, **values}, {"_mask": jnp.ones(3, bool)})[name].value
        return rows.mean()

    scale = jnp.float32(5.0)  # more than a hundred: as its library has it, there is no limit
    value, slope = jax.value_and_grad(loss)(scale, "info_nce")
    logits = x[0] @ x[1].T * np.exp(5.0)
    two = [np.asarray(jax.nn.logsumexp(m, axis=1)) - np.diag(m) for m in (logits, logits.T)]
    np.testing.assert_allclose(value, np.mean(two), rtol=1e-4)
    assert abs(slope) > 1e-3
    assert jax.grad(loss)(scale, "fixed") == 0


def test_checkpoints_leave_out_what_is_frozen_of_it(folder, tmp_path):
    config = config_of(folder, freeze=("image", "projections"))
    config.train.delta_checkpoints = True
    _, params = made(config)
    base = delta.base(config, tmp_path, params)
    kept = {name for name, keep in flatten_dict(base.keeps, sep="/").items() if keep}
    assert tops(kept) == {"encoders_text", "logit_scale"}
    delta.first_variables(config, tmp_path)
    assert json.loads((tmp_path / "base.json").read_text()).keys() == {"model"}
    read = base.read()
    assert read.keys() == ALL
    fakes.write_clip(folder, seed=3)
    try:
        with pytest.raises(UserError, match="has changed since"):
            base.read()
    finally:
        fakes.write_clip(folder)


def test_two_halves_of_one_model_are_warned_of(folder, tmp_path, caplog):
    config = config_of(folder, model=None, width=8)
    config.encoders = {name: mmjax.pretrained(folder) for name in ("image", "text")}
    kept = pretrained.checkpoints(config)
    with caplog.at_level(logging.WARNING):
        joint.warn_of_separate_parts(config, kept)
    (record,) = caplog.records
    assert f"config.model = mmjax.pretrained({str(folder)!r})" in record.getMessage()
    caplog.clear()
    fakes.write_clip(tmp_path / "other")
    config.encoders.text.path = str(tmp_path / "other")
    joint.warn_of_separate_parts(config, pretrained.checkpoints(config))
    assert not caplog.records


def test_lora_is_folded_into_what_is_given_back(folder, tmp_path):
    tuning = {"name": "lora", "rank": 2, "where": "encoders_text/.*qkv"}
    config = config_of(folder, freeze=True, tuning=tuning)
    model = factory.model(config, classes=0, vocabulary_size=0)
    variables = model.init(jax.random.key(0), factory.example_inputs(config))
    variables["params"] |= joint.first_variables(config)[0]["params"]
    variables["params"]["lora"] = jax.tree.map(
        lambda x: jnp.full_like(x, 0.1), variables["params"]["lora"]
    )
    assert export(config, tmp_path / "run", variables, None, "safetensors", tmp_path / "b") == []
    found, before = (open_weights(path) for path in (tmp_path / "b", folder))
    assert found.keys() == before.keys()
    for name, tensor in before.items():
        moved = abs(found[name].read() - tensor.read()).max()
        assert (moved > 0.01) == (
            "text_model" in name and "_proj.weight" in name and "out" not in name
        )


def without_vision(config):
    config.modalities = ("text", "touch")
    config.encoders = {"touch": OWN}


def with_alignment(config):
    config.alignment = {"temperature": 0.1}


def with_encoder(config):
    config.modalities, config.encoders = ("image", "text"), {"image": {"name": "cnn"}}


def with_frozen(config):
    path = config.model.path
    del config.model
    config.model = mmjax.pretrained(path, freeze=("images",))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without_vision, "config.model encodes image and text, each as one modality"),
        (with_encoder, "config.model encodes image and text, each as one modality"),
        (with_alignment, "config.alignment.temperature: config.model has its own"),
        (lambda c: c.update({"matching": {"name": "concat"}}), "config.matching reads tokens"),
        (lambda c: c.update({"modalities": ("imag", "text")}), "'imag'; did you mean 'image'"),
        (lambda c: c.data.update({"image_size": 32}), "config.data.image_size: .* sees 16x16"),
        (with_frozen, "config.model.freeze: unknown 'images'; did you mean 'image'"),
        (lambda c: c.model.update({"output": "pooled"}), "config.model: unknown 'output'"),
        (lambda c: c.model.update({"path": ""}), "config.model.path: say where"),
        (lambda c: c.update({"modalities": ("image", "text", "touch")}), "'touch' has no entry in"),
    ],
)
def test_what_does_not_fit_is_one_line(folder, change, message):
    config = config_of(folder)
    change(config)
    with pytest.raises(UserError, match=message) as caught:
        made(config)
    assert "\n" not in str(caught.value)


def test_where_nothing_trains_it_is_said(folder):
    config = config_of(folder, freeze=True)
    _, params = made(config)
    with pytest.raises(UserError, match="nothing trains: all parameters are frozen"):
        make_training.make_optimizer(config, params)


def test_a_model_without_a_common_space_is_no_whole_model(tmp_path):
    from tests.factory.checkpoints.test_delta import BERT

    fakes.write_clip(tmp_path / "bert", BERT)
    config = config_of(tmp_path / "bert", modalities=("text",))
    with pytest.raises(UserError, match="of the architecture bert, has no space that two kinds"):
        made(config)


@pytest.mark.parametrize("order", [("heard", "text"), ("text", "heard")])
def test_of_two_temperatures_each_is_of_what_asks(order):
    """CLAP's texts have one of their own."""
    config = ConfigDict(
        {
            "modalities": order,
            "model": mmjax.pretrained("clap", kinds={"heard": "audio"}),
            "losses": {"info_nce": {}, "sigmoid": {"bias": -3.0}},
            "metrics": (),
            "task": "alignment",
        }
    )
    x = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)
    named = dict(zip(("heard", "text"), map(jnp.asarray, x), strict=True))
    temperatures = {"heard": 0.5, "text": 2.0}
    values = {f"embedding/{name}": value for name, value in named.items()}
    values |= {f"temperature/{name}": value for name, value in temperatures.items()}
    values["temperature"] = temperatures["heard"]  # where a loss has one only
    (task,) = factory.tasks(config).values()
    losses = task.losses(values, {"_mask": jnp.ones(3, bool)})
    a, b = order
    mixed = {"temperature": temperatures[a], "temperature_b": temperatures[b]}
    expected = contrastive.info_nce(named[a], named[b], **mixed)
    np.testing.assert_allclose(losses["info_nce"].value, expected, rtol=1e-6)
    expected = contrastive.sigmoid(named[a], named[b], temperature=0.5, bias=-3.0)
    np.testing.assert_allclose(losses["sigmoid"].value, expected, rtol=1e-6)

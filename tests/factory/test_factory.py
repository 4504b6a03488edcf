"""Configs become objects: every variant, every entry of the tables, every option."""

import functools
import importlib.util
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from mmjax import factory
from mmjax.errors import UserError
from mmjax.factory.config.asked import asked
from mmjax.train import sharding
from mmjax.train.state import create_state
from mmjax.train.step import train_step
from mmjax.train.weighting import fixed
from mmjax.types import Input

ROOT = Path(__file__).parents[2]


def module_of(path):
    spec = importlib.util.spec_from_file_location("config", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


CONFIGS = [(p, v) for p in (ROOT / "configs").glob("*.py") for v in module_of(p).VARIANTS]


@pytest.mark.parametrize(("path", "variant"), CONFIGS, ids=lambda x: getattr(x, "stem", x))
def test_every_variant_of_every_config_builds_and_has_a_header(path, variant):
    module = module_of(path)
    config = module.get_config(variant)
    if path.stem == "own" and variant != "tiny":
        config.data.files = module.get_config("tiny").data.files
        config.data.target = "label"
    config = factory.checked(factory.filled(config)[0])
    model = factory.model(config, classes=13, vocabulary_size=29)
    example = factory.example_inputs(config)
    shapes = jax.eval_shape(lambda key: model.init(key, example), jax.random.PRNGKey(0))["params"]
    outputs = jax.eval_shape(lambda p: model.apply({"params": p}, example), shapes)
    kinds = {task.kind for task in asked(config).values()}
    if "alignment" in kinds:
        for name in config.modalities:
            assert outputs[f"embedding/{name}"].shape == (1, config.alignment.embedding)
    elif "transcription" in kinds:
        assert outputs["characters"].shape == (*outputs["characters_mask"].shape, 13)
    else:
        classes = [n for n, task in asked(config).items() if "a class" in task.type.targets]
        assert all(outputs[name].shape == (1, 13) for name in classes or ["label"])
    optimizer, rate = factory.make_optimizer(config, shapes)
    jax.eval_shape(optimizer.init, shapes)
    assert np.isfinite(float(rate(0)))
    assert factory.tasks(config)
    factory.make_augment(config)
    factory.make_schedule(config)
    stored = json.loads(json.dumps(config.to_dict()))
    assert factory.as_config(stored).to_dict() == config.to_dict()
    for word in (f"mmjax --config={path.stem} ", "Hardware", "Expect"):
        assert word in module.__doc__


PLAIN = {"image": "cnn", "text": "bag_of_words", "fusion": "concat"}
CHOICES = [("image", name) for name in factory.ENCODERS["image"]]
CHOICES += [("text", name) for name in factory.ENCODERS["text"]]
CHOICES += [("fusion", name) for name in factory.FUSIONS]


@pytest.mark.parametrize(("part", "name"), CHOICES)
def test_every_part_fits_into_a_model_by_its_name_alone(part, name):
    chosen = PLAIN | {part: name}
    config = factory.checked(module_of(ROOT / "configs" / "vqa.py").get_config("tiny"))
    config.encoders = ConfigDict({m: {"name": chosen[m]} for m in ("image", "text")})
    config.fusion = ConfigDict({"name": chosen["fusion"]})
    model = factory.model(config, classes=5, vocabulary_size=29)
    size, length = config.data.image_size, config.data.text_length
    inputs = {
        "image": Input(
            jnp.zeros((2, size, size, 3), jnp.uint8), jnp.ones(2, bool), jnp.array([0, 0, 1])
        ),
        "text": Input(jnp.zeros((3, length), jnp.int32), jnp.ones((3, length), bool)),
    }
    outputs, _ = jax.eval_shape(lambda: model.init_with_output(jax.random.PRNGKey(0), inputs))
    assert outputs["label"].shape == (3, 5)


def test_options_reach_the_constructor_and_unknown_ones_are_refused():
    table = {"made": lambda *, width, depth=1: (width, depth)}
    made = functools.partial(factory.construct, table, where="config.x")
    assert made(ConfigDict({"name": "made", "depth": 3}), width=8, dtype="unused") == (8, 3)
    assert made(ConfigDict({"name": "made", "width": 4}), width=8) == (4, 1)
    with pytest.raises(UserError, match=r"config.x \(made\): unknown 'dept'; did you mean 'depth'"):
        made(ConfigDict({"name": "made", "dept": 3}), width=8)
    with pytest.raises(UserError, match="config.x.name: unknown 'maid'; did you mean 'made'"):
        made(ConfigDict({"name": "maid"}))
    with pytest.raises(UserError, match="has no 'name'"):
        made(ConfigDict({}))


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("fusion.rank", 0, "config.fusion.rank: 0 is too small: choose 1 or more"),
        ("fusion.dropout", 1.0, "config.fusion.dropout: 1.0 is no share"),
        ("encoders.a.hidden", (8, 0), r"config.encoders.a.hidden: \(8, 0\) is too small"),
        ("width", -4, "config.width: -4 is too small"),
    ],
)
def test_numbers_that_cannot_be_are_refused(key, value, words):
    config = factory.checked(module_of(ROOT / "configs" / "fusion.py").get_config("tiny"))
    config.fusion = ConfigDict({"name": "lmf"})
    *path, last = key.split(".")
    with config.unlocked():
        functools.reduce(ConfigDict.__getattr__, path, config)[last] = value
    with pytest.raises(UserError, match=words):
        factory.model(config, classes=2, vocabulary_size=1)


def test_numbers_that_may_be_zero_are_taken():
    spec = ConfigDict({"name": "bottleneck", "bottlenecks": 0, "fusion_start": 0, "dropout": 0.0})
    assert factory.construct(factory.FUSIONS, spec, "config.fusion", width=8).bottlenecks == 0
    spec = ConfigDict({"name": "mlp", "feature_mean": -1.0, "hidden": ()})
    made = factory.construct(factory.ENCODERS["vector"], spec, "config.encoders.a", width=8)
    assert made.feature_mean == -1.0


@pytest.fixture(scope="module")
def vqa():
    """The `:tiny` model, a batch with padding and one step of it on any mesh."""
    config = factory.checked(module_of(ROOT / "configs" / "vqa.py").get_config("tiny"))
    model = factory.model(config, classes=13, vocabulary_size=29)
    rng, (images, each) = np.random.default_rng(0), (8, 3)
    rows, size, length = images * each, config.data.image_size, config.data.text_length
    batch = {
        "image": rng.integers(0, 256, (images, size, size, 3), np.uint8),
        "image_mask": np.ones(images, bool),
        "image_index": np.repeat(np.arange(images, dtype=np.int32), each),
        "text": rng.integers(0, 29, (rows, length), np.int32),
        "text_mask": np.arange(length) < rng.integers(1, length, (rows, 1)),
        "targets/label": rng.integers(0, 13, rows, np.int32),
        "slice": np.zeros(rows, np.int32),
        "_mask": np.arange(rows) % 5 != 0,
    }
    params = model.init(jax.random.PRNGKey(0), factory.example_inputs(config))["params"]
    optimizer = factory.OPTIMIZERS["sgd"](lambda _: 1.0, momentum=0.0)
    step = functools.partial(
        train_step,
        model=model,
        tasks=factory.tasks(config),
        weights={"label": {"cross_entropy": 1.0}},
        weighting=fixed([1.0]),
        optimizer=optimizer,
        augment=factory.make_augment(config),
        ema_decay=0.0,
    )

    def run(**axes):
        mesh = sharding.make_mesh(**axes, rows=(images, rows))
        state = create_state({"params": params}, optimizer, 0)
        state = jax.device_put(state, sharding.state_sharding(state, mesh))
        return params, jax.jit(step)(state, sharding.put_batch(batch, mesh))

    return run


@pytest.mark.parametrize("axes", [(8, 1, 1), (2, 2, 2), (1, 8, 1)])
def test_eight_devices_give_the_loss_and_the_gradient_of_one(vqa, axes):
    params, (one, one_metrics) = vqa(data=1, fsdp=1, tensor=1)
    _, (eight, metrics) = vqa(**dict(zip(("data", "fsdp", "tensor"), axes, strict=True)))
    np.testing.assert_allclose(metrics["loss"].compute(), one_metrics["loss"].compute(), rtol=2e-6)
    # With plain SGD at rate 1 the gradient is what the parameters moved by.
    scale = float(one_metrics["grad_norm"].compute())
    leaves = zip(*map(jax.tree.leaves, (params, one.params, eight.params)), strict=True)
    for before, a, b in leaves:
        np.testing.assert_allclose(before - b, before - a, atol=2e-6 * max(scale, 1.0))

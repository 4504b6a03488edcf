"""The fused model: shared rows, any presence, several heads, no modality by name."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from mmjax.encoders.image.cnn import Cnn
from mmjax.encoders.image.vit import Vit
from mmjax.encoders.text.bag_of_words import BagOfWords
from mmjax.encoders.text.recurrent import TextRecurrent
from mmjax.encoders.text.transformer import TextTransformer
from mmjax.errors import UserError
from mmjax.fusion.attention.transformer import TransformerFusion
from mmjax.fusion.pooling.concat import ConcatFusion
from mmjax.fusion.pooling.multiply import MultiplyFusion
from mmjax.models.fused import FusedModel, share_rows
from mmjax.models.heads import ClassificationHead
from mmjax.types import Input, Tokens
from tests import drawn

ROWS, BATCH, LENGTH = 4, 16, 5
INDEX = jnp.asarray(np.random.default_rng(5).integers(0, ROWS, BATCH), jnp.int32)

# name: (image encoder, text encoder, fusion)
MODELS = {
    "transformers": (Vit(16, layers=1), TextTransformer(16, layers=1), TransformerFusion(16, 1)),
    "concat": (Cnn(16, (16, 16)), TextRecurrent(16), ConcatFusion(16)),
    "multiply": (Cnn(16, (16, 16), output="mean"), BagOfWords(16), MultiplyFusion(16)),
}

every_model = pytest.mark.parametrize("name", MODELS)


def model(name, order=1):
    image, text, fusion = MODELS[name]
    encoders = dict([("image", image), ("text", text)][::order])
    heads = {"answer": ClassificationHead(7), "kind": ClassificationHead(3, hidden=(8,))}
    return FusedModel(encoders, fusion, dict(list(heads.items())[::order]))


def content(seed=0):
    random = np.random.default_rng(seed)
    image = jnp.asarray(random.integers(0, 256, (ROWS, 16, 16, 3), np.uint8))
    return image, jnp.asarray(random.integers(0, 1000, (BATCH, LENGTH), np.int32))


def presence():
    """Row 1 of the pictures is absent; text 3 is absent and the others are of any length."""
    lengths = np.random.default_rng(2).integers(1, LENGTH + 1, BATCH)
    lengths[3] = 0
    return jnp.arange(ROWS) != 1, jnp.arange(LENGTH)[None] < jnp.asarray(lengths)[:, None]


def inputs(content, presence, index=INDEX):
    image, text = content
    there, real = presence
    return {"image": Input(image, there, index), "text": Input(text, real)}


parameters = functools.partial(drawn.variables, mean=0.05, deviation=0.15)


@functools.cache
def case(name):
    """The model, its variables, and one program `run(content, presence)` with its traces."""
    built = model(name)
    variables = parameters(built, inputs(content(), presence()))
    traces = []

    @jax.jit
    def run(content, presence):
        traces.append(None)

        def loss(variables):
            outputs = built.apply(variables, inputs(content, presence))
            return sum((x**2).sum() for x in outputs.values()), outputs

        gradient, outputs = jax.grad(loss, has_aux=True)(variables)
        return outputs, gradient

    return built, variables, run, traces


def assert_same_bits(actual, expected):
    jax.tree.map(np.testing.assert_array_equal, actual, expected)


def test_share_rows_gathers_tokens_and_masks():
    x = jnp.arange(24.0).reshape(4, 3, 2)
    mask = jnp.arange(12).reshape(4, 3) % 2 == 0
    index = jnp.array([2, 2, 0, 3, 1, 0])
    shared = share_rows(Tokens(x, mask), index)
    for example, row in enumerate(index):
        np.testing.assert_array_equal(shared.x[example], x[row])
        np.testing.assert_array_equal(shared.mask[example], mask[row])
    assert share_rows(Tokens(x, mask), None).x is x


@every_model
def test_outputs_are_float32_by_head(name):
    outputs, _ = case(name)[2](content(), presence())
    assert {k: (v.shape, v.dtype) for k, v in outputs.items()} == {
        "answer": ((BATCH, 7), jnp.float32),
        "kind": ((BATCH, 3), jnp.float32),
        **{f"encoder/{n}": ((BATCH, 16), jnp.float32) for n in ("image", "text")},
        **{f"encoder/{n}_mask": ((BATCH,), jnp.bool_) for n in ("image", "text")},
    }


def test_the_mean_of_an_encoders_tokens_and_its_presence_are_outputs():
    built, variables, run, _ = case("concat")
    outputs, _ = run(content(), presence())
    there, real = presence()
    np.testing.assert_array_equal(outputs["encoder/image_mask"], there[INDEX])
    np.testing.assert_array_equal(outputs["encoder/text_mask"], real.any(1))
    assert (outputs["encoder/text"][3] == 0).all()
    tokens = built.bind(variables).encoders["text"](content()[1], real)
    expected = [x[mask].mean(0) if mask.any() else x[0] * 0 for x, mask in zip(*tokens)]  # noqa: B905
    np.testing.assert_allclose(outputs["encoder/text"], jnp.stack(expected), atol=1e-5)


def test_mixup_mixes_in_training_only_and_says_how():
    built = model("concat").clone(mixup=1.0)
    _, variables, run, _ = case("concat")
    given = inputs(content(), presence())
    plain, _ = run(content(), presence())
    again = jax.jit(built.apply)(variables, given)
    assert again.keys() == plain.keys()
    np.testing.assert_allclose(again["kind"], plain["kind"], atol=1e-5)
    key = {"sample": jax.random.PRNGKey(0)}
    mixed = built.apply(variables, given, deterministic=False, rngs=key)
    share, partner = mixed["mixup/lambda"][:, None], mixed["mixup/permutation"]
    # The head "answer" is linear, so its logits are mixed as the vectors are.
    expected = share * plain["answer"] + (1 - share) * plain["answer"][partner]
    np.testing.assert_allclose(mixed["answer"], expected, atol=1e-4)
    assert (share < 1).mean() > 0.5


@every_model
def test_index_equals_repeated_rows(name):
    built, variables, run, _ = case(name)
    there, real = presence()
    image, text = content()
    repeated = inputs((image[INDEX], text), (there[INDEX], real), index=None)
    apart = jax.jit(built.apply)(variables, repeated)
    shared, _ = run(content(), presence())
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-6), shared, apart)


@every_model
def test_masked_content_changes_no_bit_of_output_or_gradient(name):
    _, _, run, _ = case(name)
    (image, text), (there, real) = content(), presence()
    dirty = jnp.where(there[:, None, None, None], image, 77), jnp.where(real, text, 10**6)
    assert_same_bits(run(dirty, presence()), run(content(), presence()))


@every_model
def test_every_presence_is_one_program(name):
    _, _, run, traces = case(name)
    for image, text in itertools.product([True, False], repeat=2):
        there, real = presence()
        results = run(content(), (there & image, real & text))
        assert all(np.isfinite(x).all() for x in jax.tree.leaves(results))
    assert len(traces) == 1


@every_model
def test_a_modality_left_out_equals_one_all_masked(name):
    built, variables, run, _ = case(name)
    there, real = presence()
    both = inputs(content(), presence())
    masks = {"image": (there, real & False), "text": (there & False, real)}
    for kept, mask in masks.items():
        alone = {kept: both[kept]}
        masked, _ = run(content(), mask)
        apart = jax.jit(built.apply)(variables, alone)
        assert apart.keys() < masked.keys()
        for key, output in apart.items():
            np.testing.assert_allclose(output, masked[key], atol=1e-5)


@every_model
def test_order_of_encoders_inputs_and_heads_changes_no_bit(name):
    _, variables, _, _ = case(name)

    def run(order):
        built = model(name, order)

        # The mapping is made inside: as an argument of jit it would arrive sorted.
        @jax.jit
        def ordered(variables, content, presence):
            given = dict(list(inputs(content, presence).items())[::order])
            return built.apply(variables, given)

        return ordered(variables, content(), presence())

    assert_same_bits(run(-1), run(1))


@every_model
def test_two_devices_give_the_values_of_one(name):
    built, variables, run, _ = case(name)
    mesh = jax.make_mesh((2,), ("data",), (AxisType.Auto,), devices=jax.devices()[:2])
    rows = NamedSharding(mesh, PartitionSpec("data"))
    sharded = jax.device_put(inputs(content(), presence()), rows)
    everywhere = jax.device_put(variables, NamedSharding(mesh, PartitionSpec()))
    outputs = jax.jit(built.apply)(everywhere, sharded)
    expected, _ = run(content(), presence())
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-6), outputs, expected)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((), r"none given: give one or more of \['image', 'text'\]"),
        (("image", "smell"), r"no encoder for \['smell'\]: give one or more of"),
    ],
)
def test_mistakes_are_told_in_one_line(given, message):
    image = inputs(content(), presence())["image"]
    with pytest.raises(UserError, match=message):
        model("multiply").init(jax.random.key(0), dict.fromkeys(given, image))


def test_a_teacher_runs_beside_and_changes_nothing_else():
    text = MODELS["concat"][1]
    given = inputs(content(), presence())
    built = model("concat").clone(teachers={"text": text.clone(dropout=0.5)})
    variables = parameters(built, given)
    found = built.apply(variables, given, deterministic=False, rngs={"dropout": jax.random.key(0)})
    own = {k: v for k, v in variables["params"].items() if k != "teachers_text"}
    alone = model("concat").apply({"params": own}, given)
    assert found.keys() - alone.keys() == {"teacher/text", "teacher/text_mask"}
    for name, value in alone.items():
        np.testing.assert_array_equal(found[name], value)
    taught = {**own, "encoders_text": variables["params"]["teachers_text"]}
    expected = model("concat").apply({"params": taught}, given)
    np.testing.assert_array_equal(found["teacher/text"], expected["encoder/text"])
    np.testing.assert_array_equal(found["teacher/text_mask"], expected["encoder/text_mask"])
    without = built.apply(variables, {"image": given["image"]})
    assert "teacher/text" not in without


def test_modality_dropout_hides_a_modality_from_the_fusion_in_training_only():
    """At a rate near 1 the fusion sees one modality, and answers as if the other were not there."""
    built = model("concat").clone(modality_dropout=0.999)
    plain, given = model("concat"), inputs(content(), presence())
    params = plain.init(jax.random.key(0), given)
    same = built.apply(params, given)
    np.testing.assert_array_equal(same["answer"], plain.apply(params, given)["answer"])
    dropped = built.apply(params, given, deterministic=False, rngs={"sample": jax.random.key(1)})
    alone = [plain.apply(params, {name: given[name]})["answer"] for name in ("image", "text")]
    distances = jnp.stack([jnp.abs(dropped["answer"] - x).max(axis=1) for x in alone])
    assert distances.min(axis=0).max() < 1e-5
    assert set(np.asarray(distances.argmin(axis=0))) == {0, 1}
    np.testing.assert_array_equal(dropped["encoder/text"], same["encoder/text"])

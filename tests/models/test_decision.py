"""Decision-level fusion: each modality alone, and what the combination makes of them."""

import functools
import itertools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.errors import UserError
from mmjax.models import combine
from mmjax.models.decision import COMBINATIONS, DecisionModel
from mmjax.models.heads import ClassificationHead
from mmjax.nn.layers.dense import Dense
from mmjax.nn.layers.masking import zero_masked
from mmjax.types import Input, Tokens
from tests import drawn

WIDTHS = {"text": 5, "image": 4, "audio": 3}
NAMES = tuple(sorted(WIDTHS))
BATCH, LENGTH, CLASSES = 8, 2, 4

every_rule = pytest.mark.parametrize("name", COMBINATIONS)


class Sequence(nn.Module):
    """Series [B T F] -> tokens."""

    @nn.compact
    def __call__(self, value, mask, *, deterministic):  # noqa: ARG002
        return Tokens(zero_masked(Dense(6)(zero_masked(value, mask)), mask), mask)


def model(name, order=1, dropout=0.0):
    names = tuple(WIDTHS)[::order]
    heads = {n: ClassificationHead(CLASSES, dropout=dropout) for n in names}
    return DecisionModel({n: Sequence() for n in names}, heads, combine=name)


def content(seed=0):
    random = np.random.default_rng(seed)
    return {
        n: random.normal(size=(BATCH, LENGTH, width)).astype(np.float32)
        for n, width in WIDTHS.items()
    }


def masks():
    """Every subset of the modalities is present in one row, with one or two tokens."""
    rows = np.array(list(itertools.product([True, False], repeat=3)))
    second = np.random.default_rng(1).random((3, BATCH)) < 0.5
    return {n: np.stack([rows[:, i], rows[:, i] & second[i]], 1) for i, n in enumerate(WIDTHS)}


def inputs(content, masks, order=1):
    return {
        n: Input(jnp.asarray(content[n]), jnp.asarray(masks[n])) for n in tuple(content)[::order]
    }


@functools.cache
def case(name):
    """The model, its variables, and one program `run(content, masks)` with its traces."""
    built = model(name)
    variables = drawn.variables(built, inputs(content(), masks()), mean=0.1)
    traces = []

    @jax.jit
    def run(content, masks):
        traces.append(None)

        def loss(variables, content):
            outputs = built.apply(variables, inputs(content, masks))
            return outputs["label"][:, 0].sum(), outputs

        gradients, outputs = jax.grad(loss, (0, 1), has_aux=True)(variables, content)
        return outputs, gradients

    return built, variables, run, traces


def present():
    return jnp.stack([masks()[n].any(1) for n in NAMES], 1)


def assert_same_bits(actual, expected):
    jax.tree.map(np.testing.assert_array_equal, actual, expected)


@every_rule
def test_each_modality_decides_alone(name):
    """One example after the other, from the mean of its real tokens."""
    _, variables, run, _ = case(name)
    outputs, _ = run(content(), masks())
    logits = {"label", *(f"label/{n}" for n in NAMES)}
    others = {f"{kind}/{n}_mask" for n in NAMES for kind in ("label", "encoder")}
    assert outputs.keys() == logits | others | {f"encoder/{n}" for n in NAMES}
    for key in logits:
        assert (outputs[key].shape, outputs[key].dtype) == ((BATCH, CLASSES), jnp.float32)
    for n in NAMES:
        there = masks()[n].any(1)
        np.testing.assert_array_equal(outputs[f"label/{n}_mask"], there)
        np.testing.assert_array_equal(outputs[f"encoder/{n}_mask"], there)
        encoder = variables["params"][f"encoders_{n}"]["Dense_0"]
        head = variables["params"][f"heads_{n}"]["logits"]
        for row in range(BATCH):
            real = masks()[n][row]
            expected = np.zeros(CLASSES)
            if real.any():
                x = content()[n][row][real] @ encoder["kernel"] + encoder["bias"]
                expected = x.mean(0) @ head["kernel"] + head["bias"]
            np.testing.assert_allclose(outputs[f"label/{n}"][row], expected, atol=1e-5)


@every_rule
def test_the_rule_combines_them(name):
    _, variables, run, _ = case(name)
    outputs, _ = run(content(), masks())
    logits = jnp.stack([outputs[f"label/{n}"] for n in NAMES], 1)
    params = variables["params"]
    if name == "stack":
        expected = np.zeros((BATCH, CLASSES))
        for place, n in enumerate(NAMES):
            layer = params["stack"][n]
            log_p = np.asarray(jax.nn.log_softmax(logits[:, place]))
            part = log_p @ layer["kernel"] + layer["bias"]
            expected += np.where(present()[:, place : place + 1], part, 0)
    elif name == "weighted":
        scores = jnp.stack([params["weighted"][f"score_{n}"] for n in NAMES])
        expected = combine.weighted(logits, present(), scores)
    else:
        expected = getattr(combine, name)(logits, present())
    np.testing.assert_allclose(outputs["label"], expected, atol=1e-5)


@every_rule
def test_nothing_present_is_uniform(name):
    outputs, _ = case(name)[2](content(), masks())
    nothing = outputs["label"][~present().any(1)]
    assert len(nothing) == 1
    np.testing.assert_array_equal(nothing, nothing[0, 0])
    assert np.isfinite(nothing).all()


@every_rule
@pytest.mark.parametrize("value", [1e6, np.nan])
def test_masked_content_changes_no_bit_and_has_no_gradient(name, value):
    run = case(name)[2]
    dirty = {n: np.where(masks()[n][..., None], x, np.float32(value)) for n, x in content().items()}
    clean = run(content(), masks())
    assert_same_bits(run(dirty, masks()), clean)
    for n, gradient in clean[1][1].items():
        np.testing.assert_array_equal(np.asarray(gradient)[~masks()[n]], 0)
        assert np.abs(gradient).max(-1)[masks()[n]].min() > 0


@every_rule
def test_every_presence_is_one_program(name):
    _, _, run, traces = case(name)
    for chosen in itertools.product([True, False], repeat=3):
        some = {n: m & c for (n, m), c in zip(masks().items(), chosen, strict=True)}
        assert all(np.isfinite(x).all() for x in jax.tree.leaves(run(content(), some)))
    assert len(traces) == 1


@every_rule
def test_a_modality_left_out_equals_one_all_masked(name):
    built, variables, run, _ = case(name)
    masked, _ = run(content(), masks() | {"image": masks()["image"] & False})
    given = inputs(content(), masks())
    del given["image"]
    left_out = jax.jit(built.apply)(variables, given)
    assert left_out.keys() == {key for key in masked if "/image" not in key}
    for key, value in left_out.items():
        np.testing.assert_allclose(value, masked[key], atol=1e-5)


@pytest.mark.parametrize("name", ["stack", "weighted"])  # those with parameters by name
def test_order_changes_no_bit(name):
    variables = case(name)[1]

    def run(order):
        built = model(name, order)

        @jax.jit
        def ordered(variables, content, masks):
            return built.apply(variables, inputs(content, masks, order))

        return ordered(variables, content(), masks())

    assert_same_bits(run(-1), run(1))


@every_rule
def test_training_reaches_every_parameter(name):
    """Votes have no gradient, so training is on the average."""
    _, variables, _, _ = case(name)
    built = model(name, dropout=0.1)

    @jax.jit
    def gradient(variables):
        def loss(variables):
            rngs = {"dropout": jax.random.key(0, impl="rbg")}
            given = inputs(content(), masks())
            outputs = built.apply(variables, given, deterministic=False, rngs=rngs)
            return outputs["label"][:, 0].sum(), outputs

        return jax.grad(loss, has_aux=True)(variables)

    gradients, outputs = gradient(variables)
    assert all(np.abs(g).max() > 0 for g in jax.tree.leaves(gradients))
    if name == "vote":
        logits = jnp.stack([outputs[f"label/{n}"] for n in NAMES], 1)
        expected = combine.average(logits, present())
        np.testing.assert_allclose(outputs["label"], expected, atol=1e-6)


@pytest.mark.parametrize(("name", "rule"), [("stack", "product"), ("weighted", "average")])
def test_learned_rules_start_as_fixed_ones(name, rule):
    built = model(name)
    variables = jax.jit(built.init)(jax.random.key(0, impl="rbg"), inputs(content(), masks()))
    outputs = jax.jit(built.apply)(variables, inputs(content(), masks()))
    logits = jnp.stack([outputs[f"label/{n}"] for n in NAMES], 1)
    expected = getattr(combine, rule)(logits, present())
    np.testing.assert_allclose(jax.nn.log_softmax(outputs["label"]), expected, atol=1e-5)


def test_examples_may_share_rows():
    built, variables, _, _ = case("average")
    index = jnp.array([3, 0, 0, 5, 7, 1, 1, 2], jnp.int32)
    given = inputs(content(), masks())
    value, mask, *_ = given["image"]
    apply = jax.jit(built.apply)
    shared, apart = (Input(value, mask, index), Input(value[index], mask[index]))
    results = [apply(variables, given | {"image": image}) for image in (shared, apart)]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), *results)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"combine": "mean"}, "unknown combine 'mean': choose one of average, product, stack"),
        ({"heads": {}}, r"encoders of \['audio', 'image', 'text'\] but heads of \[\]"),
        (
            {"heads": {n: ClassificationHead(len(n)) for n in NAMES}},
            r"different numbers of classes \{'audio': 5, 'image': 5, 'text': 4\}",
        ),
    ],
)
def test_mistakes_are_told_in_one_line(change, message):
    with pytest.raises(UserError, match=message):
        jax.eval_shape(
            model("average").clone(**change).init, jax.random.key(0), inputs(content(), masks())
        )


@pytest.mark.parametrize("given", [(), ("smell",)])
def test_inputs_without_encoder_are_told_in_one_line(given):
    smell = Input(jnp.zeros((1, 2, 3)), jnp.ones((1, 2), bool))
    with pytest.raises(UserError, match=r"give one or more of \['audio', 'image', 'text'\]"):
        model("average").init(jax.random.key(0), dict.fromkeys(given, smell))

"""jax.pmap with explicit collectives, XLA's own and one device: the same losses and updates."""

import dataclasses
import functools
import re
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import Mesh

from mmjax.errors import UserError
from mmjax.fusion.pooling.sums import SumFusion
from mmjax.losses.alignment import contrastive
from mmjax.losses.generative import adversarial
from mmjax.losses.targets.classification import cross_entropy
from mmjax.metrics.classification import accuracy
from mmjax.models.aligned import AlignedModel
from mmjax.models.critic import Critic
from mmjax.models.fused import FusedModel
from mmjax.models.heads import ClassificationHead
from mmjax.nn.kernels import switch
from mmjax.nn.kernels.devices import over_all_rows, sharing
from mmjax.nn.layers.batch_norm import BatchNorm
from mmjax.tasks.alignment import alignment
from mmjax.tasks.classification import classification
from mmjax.tasks.keyed import KeyedFunction
from mmjax.tasks.task import Question, inputs_of
from mmjax.train import parallel, sharding, weighting
from mmjax.train.state import create_state
from mmjax.train.step import train_step
from mmjax.train.weighting.shared import on_shared
from mmjax.types import DEVICES, Tokens
from tests.train.toy import no_augment

ROWS, FEATURES, CLASSES, WIDTH = 16, 5, 3, 4
LOSSES = ("cross_entropy", "contrastive", "critic", "generator")


class Encoder(nn.Module):
    """A dense layer and batch normalisation: one token, which depends on all rows."""

    dropout: float = 0.0

    @nn.compact
    def __call__(self, x, mask=None, *, deterministic=True):
        y = BatchNorm(momentum=0.3)(nn.Dense(WIDTH)(x), mask, deterministic=deterministic)
        y = nn.Dropout(self.dropout, deterministic=deterministic)(y)
        return Tokens(y[:, None], mask[:, None])


def keyed(function, **reads):
    return KeyedFunction(function, reads, "config.losses")


def label(name):
    reads = {"logits": name, "labels": f"batch/targets/{name}"}
    return classification(
        Question(
            ("a", "b"),
            losses={"cross_entropy": keyed(cross_entropy, **reads)},
            metrics={"accuracy": keyed(accuracy, **reads)},
            dataset_metrics={},
            name=name,
            target=name,
        )
    )


def aligned(function, **reads):
    losses = {
        "contrastive": keyed(function, a="embedding/a", b="embedding/b", **reads),
        "critic": keyed(adversarial.hinge_discriminator, real="critic/a", fake="critic/b"),
        "generator": keyed(adversarial.hinge_generator, fake="generator_score/b"),
    }
    question = Question(("a", "b"), losses, metrics={}, dataset_metrics={}, name="alignment")
    return {"alignment": alignment(question)}


def fused(dropout=0.0):
    names = ("one", "two")
    heads = {name: ClassificationHead(CLASSES) for name in names}
    return FusedModel({"a": Encoder(dropout), "b": Encoder()}, SumFusion(WIDTH), heads)


def in_one_space():
    layers = {name: nn.Dense(WIDTH) for name in ("a", "b")}
    return AlignedModel({"a": Encoder(), "b": Encoder()}, layers, critic=Critic(hidden=(4,)))


def batch_of(seed, *, real=ROWS, shared=1):
    """Rows of two vectors and two targets; `shared` examples have the same "a"."""
    rng = np.random.default_rng(seed)
    rows = ROWS // shared
    batch = {
        "a": rng.normal(2.0, 1.0, size=(rows, FEATURES)).astype(np.float32),
        "a_mask": np.arange(rows) < -(-real // shared),
        "b": rng.normal(size=(ROWS, FEATURES)).astype(np.float32),
        "b_mask": (np.arange(ROWS) < real) & (rng.random(ROWS) < 0.8),
        "b_id": rng.integers(ROWS // 2, size=ROWS).astype(np.int32),
        "targets/one": rng.integers(CLASSES, size=ROWS).astype(np.int32),
        "targets/two": rng.integers(CLASSES, size=ROWS).astype(np.int32),
        "targets/two_mask": rng.random(ROWS) < 0.7,
        "slice": np.zeros(ROWS, np.int32),
        "_mask": np.arange(ROWS) < real,
    }
    if shared > 1:
        batch["a_index"] = np.repeat(np.arange(rows, dtype=np.int32), shared)
    return batch


@dataclasses.dataclass
class Case:
    """What is trained, and how."""

    tasks: dict[str, Any]
    model: nn.Module = dataclasses.field(default_factory=fused)
    batch: Callable = batch_of
    how: weighting.LossWeighting | None = None
    first: optax.GradientTransformation | None = None
    options: dict[str, Any] = dataclasses.field(default_factory=dict)


ONE = {"one": label("one")}
TWO = ONE | {"two": label("two")}
PCGRAD = {"first": weighting.pcgrad(), "options": {"per_task_gradients": True}}
ONE_BY_ONE = {"per_task_gradients": True, "one_by_one": True, "alone": ("a", "b")}
CASES = {
    "classes": Case(ONE),
    "padded": Case(ONE, batch=functools.partial(batch_of, real=5)),
    "shared": Case(ONE, batch=functools.partial(batch_of, real=13, shared=2)),
    "info_nce": Case(aligned(contrastive.info_nce, temperature="temperature"), in_one_space()),
    "sigmoid": Case(
        aligned(contrastive.sigmoid, temperature="temperature", bias="bias"),
        in_one_space(),
        functools.partial(batch_of, real=11),
    ),
    "famo": Case(TWO, how=weighting.famo(same_batch=True)),
    "uncertainty": Case(TWO, how=weighting.uncertainty()),
    "pcgrad": Case(TWO, **PCGRAD),
    "one_by_one": Case(ONE, first=weighting.mgda(), options=ONE_BY_ONE),
    "ogm_ge": Case(
        ONE,
        first=weighting.ogm_ge(modalities=("a", "b")),
        options={"alone": ("a", "b"), "learn_alone": False},
    ),
}


def begin(case, name, devices):
    """The program of a case, and its first state."""
    mesh = sharding.make_mesh(data=devices, fsdp=1, tensor=1, rows=(ROWS,))
    inputs = inputs_of(case.tasks, jax.tree.map(jnp.asarray, case.batch(0)))
    per_task, alone = (case.options.get(key, ()) for key in ("per_task_gradients", "alone"))
    learned = len(case.tasks) + len(alone) * case.options.get("learn_alone", True)
    how = case.how or weighting.fixed([1.0] * learned)
    optimizer = optax.sgd(0.005, momentum=0.9)
    if case.first is not None:
        optimizer = optax.chain(on_shared(case.first) if per_task else case.first, optimizer)

    def create():
        variables = case.model.init(jax.random.PRNGKey(0), inputs)
        return create_state(variables, optimizer, 0, ema=True, weighting=how.init(learned))

    program = parallel.PARALLEL[name](
        train_step,
        jax.eval_shape(create),
        mesh,
        model=case.model,
        tasks=case.tasks,
        weights={task: dict.fromkeys(LOSSES, 1.0) for task in case.tasks},
        weighting=how,
        optimizer=optimizer,
        augment=no_augment,
        ema_decay=0.9,
        **case.options,
    )
    return program, jax.jit(create, out_shardings=program.shardings)()


def train(case, name, devices, steps=10):
    """Numbers of each step, and the states after the first and the last."""
    program, state = begin(case, name, devices)
    numbers, states = [], []
    for step in range(steps):
        state, metrics = program.step(state, program.put(case.batch(step)))
        numbers.append({name: float(metric.compute()) for name, metric in metrics.items()})
        states.append(jax.device_get(state) if step in (0, steps - 1) else state)
    return numbers, states, state


def assert_near(got, expected, tolerance=1e-5):
    """Arrays are the same but for rounding, in which the largest number of each counts."""

    def check(a, b):
        atol = tolerance * max(1.0, np.abs(b).max(initial=0))
        np.testing.assert_allclose(a, b, rtol=0, atol=atol)

    jax.tree.map(check, got, expected)


def check_same_everywhere(state):
    """All eight devices have the same arrays, bit for bit."""
    for leaf in jax.tree.leaves(state):
        first, *others = (np.asarray(shard.data) for shard in leaf.addressable_shards)
        assert len(others) == 7
        assert all(np.array_equal(first, other) for other in others)


# One program for eight devices equals that for one in every case: see test_meshes.
ALSO_EIGHT = ("padded", "info_nce", "famo")


@pytest.mark.parametrize("name", CASES)
def test_ten_steps_are_those_of_one_device_and_of_one_program_for_all(name):
    case = CASES[name]
    numbers, states, last = train(case, "pmap", 8)
    for how, devices in (("auto", 1), ("auto", 8))[: 1 + (name in ALSO_EIGHT)]:
        expected, expected_states, _ = train(case, how, devices)
        assert_near(numbers, expected)
        assert_near(states[0], expected_states[0])  # and so the gradient is
        assert_near(states[-1], expected_states[-1])
    assert numbers[-1]["grad_norm"] > 0
    check_same_everywhere(last)


def test_plain_batch_norm_is_that_of_all_devices_too():
    with switch.use(False):
        numbers, states, _ = train(CASES["padded"], "pmap", 8, steps=1)
        expected, expected_states, _ = train(CASES["padded"], "auto", 1, steps=1)
    assert_near(numbers, expected)
    assert_near(states[0], expected_states[0])


@pytest.fixture
def row():
    return Mesh(jax.devices(), (DEVICES,))


def on_each(function, *arguments):
    """What each of eight devices comes to, [8 ...], each with its own part of the arguments."""
    return jax.pmap(function, axis_name=DEVICES)(*arguments)


def test_a_batch_is_put_together_again_with_rows_counted_over_all(row):
    batch = batch_of(0, shared=2)
    parts = parallel.put_apart(batch, row)
    assert all(x.shape[:2] == (8, len(batch[name]) // 8) for name, x in parts.items())
    np.testing.assert_array_equal(parts["a_index"], np.zeros((8, 2)))
    for name, x in on_each(parallel.EXCHANGE.batch, parts).items():
        np.testing.assert_array_equal(x, np.broadcast_to(batch[name], x.shape), err_msg=name)


@pytest.mark.parametrize("other", [0, 15])
def test_a_row_that_another_device_has_is_refused(row, other):
    batch = batch_of(0) | {"a_index": np.arange(ROWS, dtype=np.int32)}
    parallel.put_apart(batch, row)
    batch["a_index"][7] = other
    with pytest.raises(UserError, match=r"'a_index' examples use rows of 'a' that another device"):
        parallel.put_apart(batch, row)


def test_devices_draw_numbers_of_their_own():
    keys = on_each(lambda _: parallel.EXCHANGE.key(jax.random.PRNGKey(3)), np.arange(8))
    assert len(np.unique(keys, axis=0)) == 8
    case = Case(ONE, fused(dropout=0.5))
    _, _, last = train(case, "pmap", 8, steps=1)
    check_same_everywhere(last)


def test_a_device_has_its_rows_to_itself_and_shares_sums_only():
    rows = np.arange(16.0, dtype=np.float32).reshape(8, 2)
    parts = on_each(lambda x: jnp.full((), sharing(x.shape[0])), rows)
    np.testing.assert_array_equal(parts, np.ones(8))
    sums = on_each(lambda x: over_all_rows(jnp.sum(x)), rows)
    np.testing.assert_array_equal(sums, np.full(8, 120.0))
    assert over_all_rows(jnp.sum(jnp.asarray(rows))) == 120.0


def test_what_no_loss_reads_is_not_exchanged():
    program, state = begin(CASES["classes"], "pmap", 8)
    text = program.lower(state, program.put(batch_of(0))).compile().as_text()
    gathered = re.findall(r"(\S+) all-gather\(", text)
    assert any(shape.startswith(f"f32[{ROWS},{CLASSES}]") for shape in gathered), gathered
    assert not any(shape.startswith(f"f32[{ROWS},{FEATURES}]") for shape in gathered), gathered

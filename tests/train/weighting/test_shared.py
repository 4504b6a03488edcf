"""Which parameters tasks share, and what the step does with the others."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mmjax.losses.targets.classification import cross_entropy
from mmjax.tasks.classification import classification
from mmjax.tasks.keyed import KeyedFunction
from mmjax.tasks.task import Question
from mmjax.train import weighting
from mmjax.train.state import create_state
from mmjax.train.step import train_step
from mmjax.train.weighting.shared import on_shared, shared
from mmjax.types import Input
from tests.train.toy import CLASSES, FEATURES, make_batch, no_augment, same

NAMES = ("one", "two")


class Heads(nn.Module):
    """A shared layer and a head for each task."""

    @nn.compact
    def __call__(self, inputs, *, deterministic=True):
        del deterministic
        x = nn.tanh(nn.Dense(5, name="trunk")(inputs["vector"].value))
        return {name: nn.Dense(CLASSES, name=name)(x) for name in NAMES}


def task(name):
    reads = {"logits": name, "labels": f"batch/targets/{name}"}
    return classification(
        Question(
            modalities=("vector",),
            losses={"cross_entropy": KeyedFunction(cross_entropy, reads, "config.losses")},
            metrics={},
            dataset_metrics={},
            name=name,
            target=name,
        )
    )


MODEL = Heads()
INPUTS = {"vector": Input(jnp.zeros((1, FEATURES)), None)}
PARAMS = MODEL.init(jax.random.PRNGKey(0), INPUTS)["params"]
TASKS = {name: task(name) for name in NAMES}


def batch_of(absent=()):
    batch = make_batch(rows=8)
    labels = batch.pop("targets/label")
    for i, name in enumerate(NAMES):
        batch[f"targets/{name}"] = (labels + i) % CLASSES
        batch[f"targets/{name}_mask"] = np.full(8, name not in absent)
    return batch


def step_of(optimizer, how, batch=None, state=None, **options):
    if state is None:
        state = create_state({"params": PARAMS}, optimizer, 0, weighting=how.init(2))

    def run(state, batch):
        return train_step(
            state,
            batch,
            model=MODEL,
            tasks=TASKS,
            weights={name: {"cross_entropy": 1.0} for name in NAMES},
            weighting=how,
            optimizer=optimizer,
            augment=no_augment,
            ema_decay=0.0,
            **options,
        )

    return jax.jit(run)(state, batch_of() if batch is None else batch)


def moved(state):
    return jax.tree.map(lambda a, b: np.asarray(a - b), PARAMS, state.params)


def close(found, expected):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), found, expected
    )


def gradients():
    """By plain optax, of each task alone."""
    ones = [weighting.fixed([1.0, 0.0]), weighting.fixed([0.0, 1.0])]
    return [moved(step_of(optax.sgd(1.0), how)[0]) for how in ones]


def test_what_more_than_one_loss_reaches_is_shared():
    def losses(p):
        hidden = jnp.tanh(p["trunk"] * 2.0)
        looped, _ = jax.lax.scan(lambda c, x: (c + x * p["loop"], None), hidden, jnp.arange(3.0))
        called = jax.jit(lambda a, b: (a * hidden, b * looped))(p["one"], p["two"])
        fixed = jax.lax.stop_gradient(p["fixed"])
        first = jnp.sum(called[0]) + jnp.sum(fixed)
        second = jnp.sum(called[1]) + jnp.sum(fixed) + jnp.sum(jax.lax.stop_gradient(p["one"]))
        return [first, second, jnp.sum(p["third"])]

    names = ("trunk", "loop", "one", "two", "third", "fixed", "unused")
    params = {name: jnp.ones(2) for name in names}
    _, pull_back = jax.vjp(losses, params)
    (found,) = shared(pull_back, 3)
    assert {name for name, is_shared in found.items() if is_shared} == {"trunk"}


def test_a_model_shares_its_trunk_and_not_its_heads():
    def losses(p):
        outputs = MODEL.apply({"params": p}, INPUTS)
        return [outputs[name].sum() for name in NAMES]

    _, pull_back = jax.vjp(losses, PARAMS)
    (found,) = shared(pull_back, 2)
    assert found == {
        name: dict.fromkeys(("bias", "kernel"), name == "trunk") for name in ("trunk", *NAMES)
    }


@pytest.mark.parametrize("one_by_one", [False, True])
def test_heads_get_the_gradient_of_their_own_loss_and_the_trunk_the_aggregate(one_by_one):
    one, two = gradients()
    optimizer = optax.chain(on_shared(weighting.mgda()), optax.sgd(1.0))
    options = {"per_task_gradients": True, "one_by_one": one_by_one}
    state, metrics = step_of(optimizer, weighting.fixed([1.0, 1.0]), **options)
    found = moved(state)
    close(found["one"], one["one"])
    close(found["two"], two["two"])
    both = jax.tree.map(lambda a, b: jnp.stack([a, b]), one["trunk"], two["trunk"])
    expected, _ = weighting.mgda().update(both, None)
    close(found["trunk"], expected)
    assert np.isfinite(metrics["grad_norm"].compute())


def test_one_by_one_is_the_same():
    optimizer = optax.chain(on_shared(weighting.cagrad()), optax.sgd(1.0))
    how = weighting.fixed([1.0, 2.0])
    found = [
        step_of(optimizer, how, per_task_gradients=True, one_by_one=each)[0].params
        for each in (False, True)
    ]
    close(*found)


def test_what_does_not_train_has_no_part_in_the_aggregate():
    one, two = gradients()
    trains = jax.tree.map(lambda _: True, PARAMS)
    trains["trunk"]["kernel"] = False
    optimizer = optax.chain(on_shared(weighting.mgda(), trains), optax.sgd(1.0))
    state, _ = step_of(optimizer, weighting.fixed([1.0, 1.0]), per_task_gradients=True)
    biases = {"bias": jnp.stack([one["trunk"]["bias"], two["trunk"]["bias"]])}
    expected, _ = weighting.mgda().update(biases, None)
    close(moved(state)["trunk"]["bias"], expected["bias"])


def test_without_anything_shared_gradients_are_summed():
    made = on_shared(weighting.mgda())
    gradient = {"x": jnp.array([[1.0, 0.0], [0.0, 3.0]])}
    found, _ = made.update(gradient, made.init(None), shared={"x": False})
    np.testing.assert_array_equal(found["x"], [1.0, 3.0])


@pytest.mark.parametrize("make", [weighting.gradnorm, weighting.db_mtl])
def test_an_aggregator_is_given_the_losses(make):
    optimizer = optax.chain(on_shared(make(tasks=2)), optax.adam(1e-2))
    how = weighting.fixed([1.0, 3.0])
    state, metrics = step_of(optimizer, how, per_task_gradients=True)
    again, _ = step_of(optimizer, how, state=state, per_task_gradients=True)
    assert int(again.skipped) == 0
    assert not same(state.opt_state[0], again.opt_state[0])
    if make is weighting.gradnorm:
        losses = [float(metrics[f"{name}/loss"].compute()) for name in NAMES]
        expected = np.array(losses) * [1.0, 3.0]  # as they are weighed
        np.testing.assert_allclose(again.opt_state[0].first, expected, rtol=1e-5)


def test_famo_looks_at_the_same_batch_after_the_update():
    """The logits follow the losses that the new parameters have on the batch."""
    how, optimizer = weighting.famo(same_batch=True), optax.sgd(0.5)
    state, metrics = step_of(optimizer, how)
    before = [float(metrics[f"{name}/loss"].compute()) for name in NAMES]
    _, later = step_of(
        optax.sgd(0.0),
        weighting.fixed([1.0, 1.0]),
        state=state.replace(opt_state=optax.sgd(0.0).init(PARAMS), weighting=None),
    )
    after = [float(later[f"{name}/loss"].compute()) for name in NAMES]
    expected = how.observe(jnp.array(before), jnp.array(after), how.init(2))
    close(state.weighting, expected)
    assert not same(state.weighting, how.init(2))


@pytest.mark.parametrize(
    "how", [weighting.famo(same_batch=True), weighting.uncertainty(), weighting.gls()]
)
def test_a_task_absent_from_a_whole_batch_leaves_the_other_its_gradient(how):
    state, _ = step_of(optax.sgd(1.0), how, batch_of(absent=("two",)))
    assert int(state.skipped) == 0
    found = moved(state)
    close(found["two"], jax.tree.map(np.zeros_like, found["two"]))
    one, _ = gradients()
    share = found["one"]["bias"] / one["one"]["bias"]
    np.testing.assert_allclose(share, share[0], rtol=1e-4)
    assert share[0] > 0


def test_a_step_that_is_not_finite_leaves_an_aggregator_as_it_was():
    optimizer = optax.chain(on_shared(weighting.db_mtl(tasks=2)), optax.sgd(1.0))
    bad = jax.tree.map(lambda x: x * jnp.nan, PARAMS)
    how = weighting.fixed([1.0, 1.0])
    start = create_state({"params": bad}, optimizer, 0)
    state, _ = step_of(optimizer, how, state=start, per_task_gradients=True)
    assert int(state.skipped) == 1
    assert same(state.opt_state, start.opt_state)


def test_an_aggregate_that_is_not_finite_is_not_applied_but_counted():
    spoil = optax.stateless(lambda g, _: jax.tree.map(lambda x: x[0] * jnp.inf * 0, g))
    optimizer = optax.chain(on_shared(spoil), optax.sgd(1.0))
    state, _ = step_of(optimizer, weighting.fixed([1.0, 1.0]), per_task_gradients=True)
    assert int(state.skipped) == 1
    assert same(state.params, PARAMS)

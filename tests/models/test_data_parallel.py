"""Predictions by several devices are those by one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.models import data_parallel
from mmjax.models.data_parallel import DataParallel

DEVICES = 8


@pytest.fixture
def worth(monkeypatch):
    """Any model is worth several devices."""
    monkeypatch.setattr(data_parallel, "MIN_VALUES", 1)


def model(variables, inputs, *, twice=False):
    """A product of all rows of two inputs, and a sum over one."""
    y = jnp.tanh(inputs["a"] @ variables["kernel"])
    y = 2 * y if twice else y
    return {"products": y @ inputs["b"].T, "sums": {"of": y.sum(1)}}


def example(rows=2 * DEVICES, others=DEVICES, seed=0):
    a, b, kernel = (
        jax.random.normal(jax.random.fold_in(jax.random.key(seed), i), shape)
        for i, shape in enumerate([(rows, 6), (others, 5), (6, 5)])
    )
    return {"kernel": kernel}, {"a": a, "b": b}


def assert_same(found, expected):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-5), found, expected)


def devices_of(tree):
    return {len(x.sharding.device_set) for x in jax.tree.leaves(tree)}


@pytest.mark.usefixtures("worth")
@pytest.mark.parametrize("twice", [False, True])
def test_all_devices_give_what_one_gives(twice):
    variables, inputs = example()
    found = DataParallel(model, static_argnames="twice")(variables, inputs, twice=twice)
    assert_same(found, model(variables, inputs, twice=twice))
    assert not found["sums"]["of"].sharding.is_fully_replicated
    assert devices_of(found) == {DEVICES}


@pytest.mark.usefixtures("worth")
@pytest.mark.parametrize(("rows", "others"), [(16, 3), (1, 8), (3, 1)])
def test_rows_that_the_devices_do_not_divide_stay_on_one(rows, others):
    variables, inputs = example(rows, others)
    found = DataParallel(model)(variables, inputs)
    assert_same(found, model(variables, inputs))
    assert devices_of(found) == {1}


@pytest.mark.parametrize(
    ("size", "used"), [(data_parallel.MIN_VALUES - 1, 1), (data_parallel.MIN_VALUES, DEVICES)]
)
def test_a_small_model_stays_on_one_device(size, used):
    apply = DataParallel(lambda v, x: x * v["scale"].mean())
    found = apply({"scale": jnp.ones(size)}, jnp.ones((DEVICES, 1)))
    assert devices_of(found) == {used}


@pytest.mark.usefixtures("worth")
def test_variables_are_copied_once_until_they_change():
    apply, (variables, inputs) = DataParallel(model), example()
    apply(variables, inputs)
    copies = apply._copies
    apply(dict(variables), inputs)
    assert apply._copies is copies
    variables["kernel"] = variables["kernel"] + 1.0
    assert_same(apply(variables, inputs), model(variables, inputs))


@pytest.mark.usefixtures("worth")
def test_an_input_that_is_no_array_of_rows_stays_on_one_device():
    apply = DataParallel(lambda v, x: x["rows"] * x["factor"] * v)
    found = apply(jnp.ones(3), {"rows": jnp.ones((DEVICES, 3)), "factor": jnp.float32(2.0)})
    assert devices_of(found) == {1}
    np.testing.assert_array_equal(found, np.full((DEVICES, 3), 2.0))

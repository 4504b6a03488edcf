import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.train import weighting
from tests.train.toy import Toy, make_batch

STEPS = jnp.array([0, 10, 15, 20, 30])


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (weighting.linear, [1.0, 1.0, 2.5, 4.0, 4.0]),
        (weighting.cosine, [1.0, 1.0, 2.5, 4.0, 4.0]),
        (weighting.exponential, [1.0, 1.0, 2.0, 4.0, 4.0]),
    ],
)
def test_schedules_go_from_start_to_end(schedule, expected):
    weight = schedule(start=1.0, end=4.0, begin=10, steps=10)
    got = [weighting.weight_at(weight, step) for step in STEPS]
    np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_a_cosine_is_flat_at_its_ends_and_a_line_is_not():
    options = {"start": 0.0, "end": 1.0, "begin": 0, "steps": 10}
    early = [
        float(schedule(**options)(jnp.int32(1)))
        for schedule in (weighting.cosine, weighting.linear)
    ]
    np.testing.assert_allclose(early, [(1 - np.cos(np.pi / 10)) / 2, 0.1], rtol=1e-6)


def test_an_exponential_to_zero_is_refused():
    with pytest.raises(ValueError, match="must both be above 0"):
        weighting.exponential(start=1.0, end=0.0)


def test_the_step_weighs_by_the_schedule_and_logs_it():
    toy, batch = Toy(), make_batch()
    weights = {"label": {"cross_entropy": weighting.linear(start=0.0, end=2.0, steps=4)}}
    step = functools.partial(toy.raw_step, weights=weights)
    at_two = toy.state.replace(step=jnp.int32(2))
    _, metrics = jax.jit(step)(at_two, batch)
    _, plain = toy.step(at_two, batch)
    assert float(metrics["weight/cross_entropy"].compute()) == 1.0
    assert metrics["loss"].compute() == plain["loss"].compute()
    assert "weight/cross_entropy" not in plain
    _, metrics = jax.jit(step)(toy.state, batch)
    assert metrics["loss"].compute() == 0
    np.testing.assert_array_equal(
        metrics["cross_entropy"].compute(), plain["cross_entropy"].compute()
    )

"""Positions on a line: what is added, what turns, and that the table is complete."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.errors import UserError
from mmjax.nn.layers.positions import LINE_POSITIONS, place, sinusoids
from mmjax.nn.layers.rotary import line_angles


class Placed(nn.Module):
    positions: str

    @nn.compact
    def __call__(self, x):
        return place(x, self.positions, 3)


X = jnp.asarray(np.random.default_rng(0).normal(size=(2, 5, 12)), jnp.float32)


def test_sinusoids_equal_the_formula():
    table = sinusoids(50, 6)
    for n in (0, 1, 7, 49):
        for pair in range(3):
            angle = n / 10_000 ** (2 * pair / 6)
            np.testing.assert_allclose(
                table[n, 2 * pair : 2 * pair + 2], [np.sin(angle), np.cos(angle)], atol=1e-6
            )


@pytest.mark.parametrize("positions", LINE_POSITIONS)
def test_what_each_choice_does(positions):
    (x, angles), variables = Placed(positions).init_with_output(jax.random.key(0), X)
    channels = np.arange(12)
    turns = np.arange(5)[:, None] / 10_000 ** (channels // 2 / 6)
    added = {
        "learned": variables.get("params", {}).get("positions", {}).get("embedding"),
        "none": 0,
        "rotary": 0,
        "sincos": np.where(channels % 2, np.cos(turns), np.sin(turns)),
    }[positions]
    np.testing.assert_allclose(x, X + added, atol=1e-6)
    if positions == "rotary":
        np.testing.assert_array_equal(angles, line_angles(5, 4))
    else:
        assert angles is None
    assert bool(variables) == (positions == "learned")


def test_heads_of_an_odd_width_do_not_turn():
    with pytest.raises(UserError, match="width 9 does not split into 3 heads of an even width"):
        Placed("rotary").init(jax.random.key(0), X[..., :9])

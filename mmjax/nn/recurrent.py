"""Long short-term memory (Hochreiter & Schmidhuber 1997; forget gate: Gers et al. 2000)."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mmjax.nn.dense import Dense
from mmjax.nn.masking import zero_masked


def lstm(
    projected: Float[Array, "B L gates"],
    recurrent: Float[Array, "D gates"],
    mask: Bool[Array, "B L"],
) -> tuple[Float[Array, "B L D"], Float[Array, "B D"]]:
    """Runs the recurrence over L steps from a zero state; gates in the order i, f, g, o.

    i, f, g, o = projected_t + h @ recurrent;  c = s(f) c + s(i) tanh(g);  h = s(o) tanh(c),
    with s the logistic function. A masked step leaves h and c as they are.

    Args:
        projected: input projection plus bias of each step, for the four gates.
        recurrent: kernel from the hidden state to the four gates.
        mask: True for the real steps.

    Returns:
        The hidden state after each step, and after the last real one (zeros if there is none).
    """
    width = recurrent.shape[0]
    state = jnp.zeros((projected.shape[0], width))

    def step(carry, inputs):
        hidden, cell = carry
        gates, real = inputs
        # In bfloat16 the cell would stop accumulating: the state is always float32.
        gates = gates.astype(jnp.float32) + (hidden.astype(recurrent.dtype) @ recurrent)
        i, f, g, o = jnp.split(gates, 4, axis=-1)
        new_cell = jax.nn.sigmoid(f) * cell + jax.nn.sigmoid(i) * jnp.tanh(g)
        new_hidden = jax.nn.sigmoid(o) * jnp.tanh(new_cell)
        hidden = jnp.where(real[:, None], new_hidden, hidden)
        cell = jnp.where(real[:, None], new_cell, cell)
        return (hidden, cell), hidden

    steps = (jnp.moveaxis(projected, 1, 0), jnp.moveaxis(mask, 1, 0))
    (last, _), hidden = jax.lax.scan(step, (state, state), steps)
    return jnp.moveaxis(hidden, 0, 1).astype(projected.dtype), last.astype(projected.dtype)


def forget_bias_init(key: jax.Array, shape: tuple[int, ...], dtype: Any) -> Array:
    """Ones for the forget gate, zeros elsewhere (Jozefowicz et al. 2015); shape [4D]."""
    del key
    width = shape[0] // 4
    return jnp.zeros(shape, dtype).at[width : 2 * width].set(1)


class Lstm(nn.Module):
    """One LSTM layer over a masked sequence.

    Attributes:
        width: D of the state.
        dtype: type of the matrix products and of the output; the state is in float32.
    """

    width: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, "B L I"], mask: Bool[Array, "B L"]
    ) -> tuple[Float[Array, "B L D"], Float[Array, "B D"]]:
        """Hidden state after each step (zeros where masked) and after the last real one."""
        size = 4 * self.width
        projected = Dense(size, use_bias=False, dtype=self.dtype, name="input")(x)
        bias = self.param("bias", forget_bias_init, (size,), jnp.float32)
        recurrent = self.param(
            "recurrent", nn.initializers.orthogonal(), (self.width, size), jnp.float32
        )
        hidden, last = lstm(projected + bias.astype(self.dtype), recurrent.astype(self.dtype), mask)
        return zero_masked(hidden, mask), last

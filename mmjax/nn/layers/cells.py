"""The cells of recurrent layers: LSTM (Hochreiter and Schmidhuber 1997; forget gate: Gers et al.
2000) and GRU (Cho et al. 2014, https://arxiv.org/abs/1406.1078), and their derivatives."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array

State = tuple[Array, ...]
Biases = tuple[Array, Array]


class Cell(NamedTuple):
    """One kind of recurrence, all of it in float32.

    gates: number of gates that the input and the hidden state are projected to.
    states: number of arrays [B D] that are carried; the first is the hidden state.
    step: (gates from the input [B gates*D], gates from the hidden state [B gates*D], carried
        arrays) -> carried arrays, and the factors by which the derivative multiplies: computed
        here, where the numbers that they are made of are at hand.
    vjp: (those factors, gradient of the carried arrays after the step) -> gradients of the gates
        from the input, of those from the hidden state (None: the same), and of the carried arrays
        before.
    biases: bias [4D] -> what is added to the gates from the input, and to those from the hidden
        state.
    bias_init: initialiser of the bias [4D].
    """

    gates: int
    states: int
    step: Callable[[Array, Array, State], tuple[State, State]]
    vjp: Callable[[State, State], tuple[Array, Array | None, State]]
    biases: Callable[[Array], Biases]
    bias_init: Callable[..., Array]


def sigmoid_of(y: Array) -> Array:
    """The sigmoid of x from y = tanh(x / 2)."""
    return 0.5 * y + 0.5


def lstm_scale(size: int) -> Array:
    """Of the gates i, f, g, o [4D]: by how much they are scaled before tanh."""
    width = size // 4
    return jnp.full(size, 0.5).at[2 * width : 3 * width].set(1.0)


def lstm_step(from_input: Array, from_hidden: Array, state: State) -> tuple[State, State]:
    """c' = s(f) c + s(i) tanh(g);  h' = s(o) tanh(c'), with i, f, g, o the sum of both."""
    y = jnp.tanh((from_input + from_hidden) * lstm_scale(from_input.shape[-1]))
    i, f, g, o = jnp.split(y, 4, axis=-1)
    i, f, o = sigmoid_of(i), sigmoid_of(f), sigmoid_of(o)
    cell = f * state[1] + i * g
    shown = jnp.tanh(cell)
    of_gates = (g * i * (1 - i), state[1] * f * (1 - f), i * (1 - g**2), shown * o * (1 - o))
    return (o * shown, cell), (*of_gates, f, o * (1 - shown**2))


def lstm_vjp(factors: State, gradient: State) -> tuple[Array, None, State]:
    """See Cell."""
    *of_cell, of_output, forget, shown = factors
    d_hidden, d_cell = gradient
    d_cell = d_cell + d_hidden * shown
    d_gates = [d_cell * factor for factor in of_cell] + [d_hidden * of_output]
    return jnp.concatenate(d_gates, -1), None, (jnp.zeros_like(d_hidden), d_cell * forget)


def lstm_biases(bias: Array) -> Biases:
    """One for each gate."""
    return bias, jnp.zeros_like(bias)


def gru_step(from_input: Array, from_hidden: Array, state: State) -> tuple[State, State]:
    """h' = (1 - z) n + z h, with r = s(x_r + h_r), z = s(x_z + h_z) and n = tanh(x_n + r h_n).

    The reset gate acts after the product with the recurrent kernel, as in cuDNN and PyTorch.
    """
    width = from_input.shape[-1] // 3
    y = jnp.tanh(0.5 * (from_input + from_hidden)[..., : 2 * width])
    r, z = jnp.split(sigmoid_of(y), 2, axis=-1)
    from_last = from_hidden[..., 2 * width :]
    n = jnp.tanh(from_input[..., 2 * width :] + r * from_last)
    of_n = (1 - z) * (1 - n**2)
    of_gates = of_n * from_last * r * (1 - r), (state[0] - n) * z * (1 - z), of_n
    return ((1 - z) * n + z * state[0],), (*of_gates, of_n * r, z)


def gru_vjp(factors: State, gradient: State) -> tuple[Array, Array, State]:
    """See Cell."""
    of_r, of_z, of_n, of_last, z = factors
    (d,) = gradient
    d_input = jnp.concatenate([d * of_r, d * of_z, d * of_n], axis=-1)
    d_recurrent = jnp.concatenate([d * of_r, d * of_z, d * of_last], axis=-1)
    return d_input, d_recurrent, (d * z,)


def gru_biases(bias: Array) -> Biases:
    """b_r, b_z and b_n with the input, b_h with the hidden state's part of n."""
    width = bias.shape[0] // 4
    return bias[: 3 * width], jnp.zeros_like(bias[width:]).at[2 * width :].set(bias[3 * width :])


def forget_bias_init(key: jax.Array, shape: tuple[int, ...], dtype: Any) -> Array:
    """Ones for the forget gate, zeros elsewhere (Jozefowicz et al. 2015); shape [4D]."""
    del key
    width = shape[0] // 4
    return jnp.zeros(shape, dtype).at[width : 2 * width].set(1)


CELLS: Mapping[str, Cell] = {
    "gru": Cell(3, 1, gru_step, gru_vjp, gru_biases, nn.initializers.zeros),
    "lstm": Cell(4, 2, lstm_step, lstm_vjp, lstm_biases, forget_bias_init),
}


def times(x: Array, kernel: Array) -> Array:
    """x @ kernel in float32: in bfloat16 a state would stop accumulating."""
    return jnp.matmul(x.astype(kernel.dtype), kernel, preferred_element_type=jnp.float32)


def states(
    cell: Cell, projected: Array, kernel: Array, biases: Biases, mask: Array
) -> tuple[Array, State]:
    """The hidden state after each step [L B D], and the factors of each step's derivative.

    See `mmjax.nn.layers.recurrent.recur`.
    """

    def step(state, inputs):
        gates, real = inputs
        gates = gates.astype(jnp.float32) + biases[0]
        new, factors = cell.step(gates, times(state[0], kernel) + biases[1], state)
        state = tuple(
            jnp.where(real[:, None], after, before)
            for after, before in zip(new, state, strict=True)
        )
        return state, (state[0], factors)

    start = (jnp.zeros((projected.shape[1], kernel.shape[0])),) * cell.states
    return jax.lax.scan(step, start, (projected, mask))[1]

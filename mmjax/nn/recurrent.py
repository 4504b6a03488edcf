"""Recurrent layers over masked sequences: LSTM (Hochreiter and Schmidhuber 1997; forget gate: Gers
et al. 2000) and GRU (Cho et al. 2014, https://arxiv.org/abs/1406.1078)."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mmjax.nn.masking import zero_masked
from mmjax.nn.options import choose
from mmjax.types import UserError

State = tuple[Array, ...]
Biases = tuple[Array, Array]


class Cell(NamedTuple):
    """One kind of recurrence.

    gates: number of gates that the input and the hidden state are projected to.
    states: number of arrays [B D] that are carried; the first is the hidden state.
    update: (gates from the input [B gates*D], gates from the hidden state [B gates*D], carried
        arrays) -> carried arrays, all in float32.
    biases: bias [4D] -> what is added to the gates from the input, and to those from the hidden
        state.
    bias_init: initialiser of the bias [4D].
    """

    gates: int
    states: int
    update: Callable[[Array, Array, State], State]
    biases: Callable[[Array], Biases]
    bias_init: Callable[..., Array]


def lstm_update(projected: Array, recurrent: Array, state: State) -> State:
    """c' = s(f) c + s(i) tanh(g);  h' = s(o) tanh(c'), with i, f, g, o the sum of both."""
    i, f, g, o = jnp.split(projected + recurrent, 4, axis=-1)
    cell = jax.nn.sigmoid(f) * state[1] + jax.nn.sigmoid(i) * jnp.tanh(g)
    return jax.nn.sigmoid(o) * jnp.tanh(cell), cell


def lstm_biases(bias: Array) -> Biases:
    """One for each gate."""
    return bias, jnp.zeros_like(bias)


def gru_update(projected: Array, recurrent: Array, state: State) -> State:
    """h' = (1 - z) n + z h, with r = s(x_r + h_r), z = s(x_z + h_z) and n = tanh(x_n + r h_n).

    The reset gate acts after the product with the recurrent kernel, as in cuDNN and PyTorch.
    """
    from_input, from_hidden = jnp.split(projected, 3, axis=-1), jnp.split(recurrent, 3, axis=-1)
    r = jax.nn.sigmoid(from_input[0] + from_hidden[0])
    z = jax.nn.sigmoid(from_input[1] + from_hidden[1])
    n = jnp.tanh(from_input[2] + r * from_hidden[2])
    return ((1 - z) * n + z * state[0],)


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
    "gru": Cell(3, 1, gru_update, gru_biases, nn.initializers.zeros),
    "lstm": Cell(4, 2, lstm_update, lstm_biases, forget_bias_init),
}


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def recur(
    cell: Cell,
    projected: Float[Array, "L B gates"],
    kernel: Float[Array, "D gates"],
    biases: tuple[Float[Array, " gates"], Float[Array, " gates"]],
    mask: Bool[Array, "L B"],
) -> Float[Array, "L B D"]:
    """Runs a recurrence over L steps from a zero state; a masked step leaves the state as it is.

    Only the first derivative is defined, and only in reverse. It takes the gradient of the kernel
    from all steps at once, where that of a scan would sum it step by step, and with a batch that is
    sharded over devices wait for all of them at each step.

    Args:
        cell: the recurrence.
        projected: input projection of each step, for all gates.
        kernel: from the hidden state to all gates.
        biases: added to the gates from the input, and to those from the hidden state.
        mask: True for the real steps.

    Returns:
        The hidden state after each step, in float32.
    """
    return _states(cell, projected, kernel, biases, mask)[0]


def _times(x: Array, kernel: Array) -> Array:
    # In bfloat16 the state would stop accumulating: it is always float32.
    return jnp.matmul(x.astype(kernel.dtype), kernel, preferred_element_type=jnp.float32)


def _states(
    cell: Cell, projected: Array, kernel: Array, biases: Biases, mask: Array
) -> tuple[Array, ...]:
    """The carried arrays after each step, each [L B D]."""

    def step(state, inputs):
        gates, real = inputs
        gates = gates.astype(jnp.float32) + biases[0]
        new = cell.update(gates, _times(state[0], kernel) + biases[1], state)
        state = tuple(
            jnp.where(real[:, None], after, before)
            for after, before in zip(new, state, strict=True)
        )
        return state, state

    start = (jnp.zeros((projected.shape[1], kernel.shape[0])),) * cell.states
    return jax.lax.scan(step, start, (projected, mask))[1]


def _forward(cell, projected, kernel, biases, mask):
    states = _states(cell, projected, kernel, biases, mask)
    return states[0], (projected, kernel, biases, mask, states)


def _backward(cell, residuals, d_hidden):
    projected, kernel, biases, mask, states = residuals
    before = tuple(jnp.pad(state[:-1], ((1, 0), (0, 0), (0, 0))) for state in states)
    recurrent = _times(before[0], kernel)

    def step(later, inputs):
        gates, from_hidden, state, real, d_hidden = inputs
        d_state = (later[0] + d_hidden, *later[1:])
        d_new = tuple(jnp.where(real[:, None], d, 0.0) for d in d_state)
        gates = gates.astype(jnp.float32) + biases[0]
        _, pull = jax.vjp(cell.update, gates, from_hidden + biases[1], state)
        d_gates, d_from_hidden, d_before = pull(d_new)
        earlier = [
            jnp.where(real[:, None], new, old) for new, old in zip(d_before, d_state, strict=True)
        ]
        earlier[0] = earlier[0] + _times(d_from_hidden, kernel.T)
        return tuple(earlier), (d_gates, d_from_hidden)

    start = (jnp.zeros(projected.shape[1:2] + kernel.shape[:1]),) * cell.states
    inputs = (projected, recurrent, before, mask, d_hidden)
    d_gates, d_from_hidden = jax.lax.scan(step, start, inputs, reverse=True)[1]
    d_kernel = jnp.einsum(
        "lbd,lbg->dg",
        before[0].astype(kernel.dtype),
        d_from_hidden.astype(kernel.dtype),
        preferred_element_type=jnp.float32,
    )
    d_biases = tuple(jnp.sum(d, (0, 1)) for d in (d_gates, d_from_hidden))
    return d_gates.astype(projected.dtype), d_kernel.astype(kernel.dtype), d_biases, None


recur.defvjp(_forward, _backward)


class Direction(nn.Module):
    """One layer in one direction, over steps before examples.

    Attributes:
        width: D of the state.
        cell: a name in CELLS.
        dtype: type of the matrix products and of the output; the state is in float32.
    """

    width: int
    cell: str = "lstm"
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, "L B I"], mask: Bool[Array, "L B"]
    ) -> tuple[Float[Array, "L B D"], Float[Array, "B D"]]:
        """Hidden state after each step, and after the last real one."""
        cell = choose(CELLS, self.cell, "cell")
        size = cell.gates * self.width
        # Not our Dense: it flattens, and a batch sharded over devices would have to be gathered, as
        # it is not the first axis here.
        projected = nn.Dense(size, use_bias=False, dtype=self.dtype, name="input")(x)
        bias = self.param("bias", cell.bias_init, (4 * self.width,), jnp.float32)
        kernel = self.param("recurrent", _orthogonal, (self.width, size), jnp.float32)
        biases = cell.biases(bias)
        hidden = recur(cell, projected, kernel.astype(self.dtype), biases, mask).astype(self.dtype)
        return hidden, hidden[-1]


def _orthogonal(key, shape, dtype):
    # One matrix after the other, when both directions are drawn: LAPACK's QR of a batch waits for
    # threads of XLA's, and never ends when two CPU devices wait for those of each other.
    draw = functools.partial(nn.initializers.orthogonal(), shape=shape, dtype=dtype)
    return jax.custom_batching.sequential_vmap(draw)(key)


# Both directions in one scan: their parameters have a leading axis of two, forward first.
BothDirections = nn.vmap(Direction, variable_axes={"params": 0}, split_rngs={"params": True})


# What encoders make of all hidden states, the last one and the mask: tokens and their mask.
OUTPUTS: Mapping[str, Callable[[Array, Array, Array], tuple[Array, Array]]] = {
    "last": lambda _, last, mask: (last[:, None], jnp.any(mask, axis=1, keepdims=True)),
    "sequence": lambda hidden, _, mask: (hidden, mask),
}


class Recurrent(nn.Module):
    """LSTM or GRU layers over a masked sequence, in one direction or in both.

    A masked step leaves the state as it is, so the backward direction starts at the last real step
    of each row.

    Attributes:
        width: D of the output. With two directions each has half of it, forward first.
        cell: "lstm" or "gru".
        layers: number of layers.
        bidirectional: whether a second recurrence runs from the end to the start.
        dropout: share dropped of what each layer but the last puts out.
        dtype: type of the matrix products and of the output; the state is in float32.
    """

    width: int
    cell: str = "lstm"
    layers: int = 1
    bidirectional: bool = False
    dropout: float = 0.0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, "B L I"], mask: Bool[Array, "B L"], *, deterministic: bool = True
    ) -> tuple[Float[Array, "B L D"], Float[Array, "B D"]]:
        """The last layer's state after each step (zeros where masked), and after its last real one.

        The backward direction has its last state at the first real step. A row without a real step
        gives zeros.

        Raises:
            UserError: an unknown cell, no layer, or an odd width for two directions.
        """
        if self.layers < 1:
            raise UserError(f"{'/'.join(self.path)}: {self.layers} layers: choose at least one")
        if self.bidirectional and self.width % 2:
            raise UserError(
                f"{'/'.join(self.path)}: width {self.width} does not split into two directions:"
                " choose an even width"
            )
        # Steps first throughout: one transposition of the input instead of one of all gates.
        hidden, real = jnp.swapaxes(zero_masked(x, mask), 0, 1), mask.T
        for layer in range(self.layers):
            if layer:
                hidden = nn.Dropout(self.dropout, deterministic=deterministic)(hidden)
            run = self._both if self.bidirectional else self._forward
            hidden, last = run(hidden, real, f"layer_{layer}")
        return zero_masked(jnp.swapaxes(hidden, 0, 1), mask), last

    def _forward(self, x: Array, mask: Array, name: str) -> tuple[Array, Array]:
        return Direction(self.width, self.cell, self.dtype, name=name)(x, mask)

    def _both(self, x: Array, mask: Array, name: str) -> tuple[Array, Array]:
        layer = BothDirections(self.width // 2, self.cell, self.dtype, name=name)
        hidden, last = layer(jnp.stack([x, x[::-1]]), jnp.stack([mask, mask[::-1]]))
        hidden = jnp.concatenate([hidden[0], hidden[1, ::-1]], axis=-1)
        return hidden, jnp.concatenate([last[0], last[1]], axis=-1)

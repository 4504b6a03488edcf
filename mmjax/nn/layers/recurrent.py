"""Recurrent layers over masked sequences, of the cells of `mmjax.nn.layers.cells`."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mmjax.errors import UserError
from mmjax.nn.kernels import recurrence
from mmjax.nn.kernels.switch import dispatch
from mmjax.nn.layers.cells import CELLS, Cell, states
from mmjax.nn.layers.masking import zero_masked
from mmjax.nn.layers.options import choose


def recur(
    cell: Cell,
    projected: Float[Array, "L B gates"],
    kernel: Float[Array, "D gates"],
    biases: tuple[Float[Array, " gates"], Float[Array, " gates"]],
    mask: Bool[Array, "L B"],
) -> Float[Array, "L B D"]:
    """Runs a recurrence over L steps from a zero state; a masked step leaves the state as it is.

    Args:
        cell: the recurrence.
        projected: input projection of each step, for all gates.
        kernel: from the hidden state to all gates.
        biases: added to the gates from the input, and to those from the hidden state.
        mask: True for the real steps.

    Returns:
        The hidden state after each step, in float32.
    """
    fast = functools.partial(recurrence.recur, cell)
    return dispatch(
        *(projected, kernel, biases, mask), cpu=fast, default=lambda *args: states(cell, *args)[0]
    )


class Projection(nn.Module):
    """x @ kernel; the same parameters as `flax.linen.Dense` without bias.

    Not our Dense: it flattens, and a batch sharded over devices would have to be gathered, as it is
    not the first axis here.

    Attributes:
        features: G.
        dtype: type of the computation and of the output.
    """

    features: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "L B I"]) -> Float[Array, "L B G"]:
        init, shape = nn.initializers.lecun_normal(), (x.shape[-1], self.features)
        kernel = self.param("kernel", init, shape, jnp.float32)
        return jnp.matmul(x.astype(self.dtype), kernel.astype(self.dtype))


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
        projected = Projection(size, self.dtype, name="input")(x)
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

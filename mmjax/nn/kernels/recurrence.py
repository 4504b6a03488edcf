"""Recurrences with a derivative for CPUs."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mmjax.nn.layers.cells import Biases, Cell, states, times


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def recur(
    cell: Cell,
    projected: Float[Array, "L B gates"],
    kernel: Float[Array, "D gates"],
    biases: Biases,
    mask: Bool[Array, "L B"],
) -> Float[Array, "L B D"]:
    """As `mmjax.nn.layers.recurrent.recur`.

    Takes the gradient of the kernel from all steps at once, where that of a scan would sum it step
    by step, and with a batch that is sharded over devices wait for all of them at each step.
    """
    return states(cell, projected, kernel, biases, mask)[0]


def _forward(cell, projected, kernel, biases, mask):
    hidden, factors = states(cell, projected, kernel, biases, mask)
    # Of the projected input its type alone is needed.
    return hidden, (hidden, factors, kernel, mask, projected[:0])


def _backward(cell, residuals, d_hidden):
    hidden, factors, kernel, mask, projected = residuals

    def step(later, inputs):
        factors, real, d_hidden = inputs
        d_state = (later[0] + d_hidden, *later[1:])
        d_new = tuple(jnp.where(real[:, None], d, 0.0) for d in d_state)
        d_gates, d_recurrent, d_before = cell.vjp(factors, d_new)
        earlier = [
            jnp.where(real[:, None], new, old) for new, old in zip(d_before, d_state, strict=True)
        ]
        of_hidden = d_gates if d_recurrent is None else d_recurrent
        earlier[0] = earlier[0] + times(of_hidden, transposed)
        return tuple(earlier), (d_gates, d_recurrent)

    # Transposed once, and not in each step (one core, 64 steps: 3.0 and 2.2 ms).
    transposed = jax.lax.optimization_barrier(kernel.T)
    start = (jnp.zeros(hidden.shape[1:]),) * cell.states
    inputs = (factors, mask, d_hidden)
    d_gates, d_recurrent = jax.lax.scan(step, start, inputs, reverse=True)[1]
    d_recurrent = d_gates if d_recurrent is None else d_recurrent
    before = jnp.pad(hidden[:-1], ((1, 0), (0, 0), (0, 0)))
    pair = before.astype(kernel.dtype), d_recurrent.astype(kernel.dtype)
    d_kernel = jax.lax.dot_general(*pair, (((0, 1), (0, 1)), ((), ())))
    d_biases = tuple(jnp.sum(d, (0, 1)) for d in (d_gates, d_recurrent))
    return d_gates.astype(projected.dtype), d_kernel, d_biases, None


recur.defvjp(_forward, _backward)

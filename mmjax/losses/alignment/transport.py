"""Entropic optimal transport between two sets of embeddings, or of anything with a cost.

Every row that counts has the same mass, and so has every column. The plan P [B C] of mass one is
the one with these margins and the least <P, cost> + e KL(P || rows x columns), with e = epsilon
times the mean cost, so that a cost in other units has the same plan. It comes from Sinkhorn's
algorithm in logarithms, with a fixed number of iterations of memory B C.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mmjax.losses.alignment.divergence import squared_distances
from mmjax.nn.layers.masking import NEG_INF
from mmjax.nn.layers.unit_length import unit_length

Embeddings = Float[Array, "B E"]
Rows = Bool[Array, " B"]

COSTS = ("cosine", "squared")


def sinkhorn(
    a: Embeddings,
    b: Embeddings,
    *,
    cost: str = "cosine",
    epsilon: float = 0.05,
    iterations: int = 50,
    debiased: bool = False,
    mask: Rows | None = None,
) -> Float[Array, " B"]:
    """min_P <P, cost> + e KL(P || rows x columns); row i is B times the part that leaves a_i.

    The mean over the rows that count is the cost of moving all of a to all of b; which row of a
    belongs to which of b is not asked. The gradient is that of these values, whatever the rows
    weigh and however far the iterations got: it goes through all of them, which are computed a
    second time for it, so that each leaves only B numbers in memory.

    Args:
        cost: "cosine" (1 - cos) or "squared" (||a_i - b_j||^2).
        epsilon: e over the mean cost of a to b. Smaller is nearer to the unregularised cost and
            needs more iterations.
        iterations: of Sinkhorn's algorithm; the rows' masses are exact after any number.
        debiased: subtracts half the cost of a to a and of b to b, with the same e (the Sinkhorn
            divergence), so that equal sets have 0. A single row may then be negative.
        mask: whether an example has both; the others have no mass, and a value of 0.

    References:
        Cuturi 2013, https://arxiv.org/abs/1306.0895
        Feydy et al. 2019, https://arxiv.org/abs/1810.08278 (debiased)
    """
    if cost not in COSTS:
        raise ValueError(f"cost is {cost!r}; there is: {', '.join(COSTS)}")
    mask = jnp.ones(len(a), bool) if mask is None else mask
    between = _cost(a, b, cost, mask)
    temperature = _temperature(between, epsilon, mask, mask)
    values = _shares(between, temperature, iterations, mask)
    if debiased:
        for x in (a, b):
            values -= _shares(_cost(x, x, cost, mask), temperature, iterations, mask) / 2
    return values


def transport_plan(
    cost: Float[Array, "B C"],
    *,
    epsilon: float = 0.05,
    iterations: int = 50,
    rows: Bool[Array, " B"] | None = None,
    columns: Bool[Array, " C"] | None = None,
) -> Float[Array, "B C"]:
    """The plan P of a cost that is not negative, of mass 1; 0 where a row or column is masked.

    Rows have exactly their mass, columns as nearly as the iterations have converged. Its gradient
    goes through all iterations. For a batch of plans (words and regions of each example): vmap.

    Args:
        epsilon: e over the mean cost.
        rows, columns: which have mass, all the same; without these, all.

    References:
        Cuturi 2013, https://arxiv.org/abs/1306.0895
    """
    rows = jnp.ones(cost.shape[0], bool) if rows is None else rows
    columns = jnp.ones(cost.shape[1], bool) if columns is None else columns
    cost = jnp.where(rows[:, None] & columns, cost, 0).astype(jnp.float32)
    temperature = _temperature(cost, epsilon, rows, columns)
    return jnp.exp(_log_plan(cost / temperature, iterations, rows, columns))


def _cost(a: Embeddings, b: Embeddings, kind: str, mask: Rows) -> Float[Array, "B B"]:
    if kind == "squared":
        return squared_distances(a, b, mask, mask)
    a, b = (unit_length(jnp.where(mask[:, None], x, 0)) for x in (a, b))
    return 1 - jnp.matmul(a, b.T, precision=jax.lax.Precision.HIGHEST)


def _temperature(cost: Array, epsilon: float, rows: Array, columns: Array) -> Float[Array, ""]:
    """e; a mean cost that is nothing but rounding errors counts as 1e-6."""
    both = rows[:, None] & columns
    mean = jnp.sum(jnp.where(both, cost, 0)) / jnp.maximum(jnp.sum(both), 1)
    return epsilon * jnp.maximum(mean, 1e-6)


def _shares(cost: Array, temperature: Array, iterations: int, mask: Rows) -> Float[Array, " B"]:
    """Of each row: B sum_j P_ij (cost_ij + e log(P_ij B^2))."""
    log_plan = _log_plan(cost / temperature, iterations, mask, mask)
    count = jnp.maximum(jnp.sum(mask), 1)
    conditional = jnp.exp(log_plan) * count
    # NEG_INF times a large temperature is infinite, and times no mass is NaN.
    information = jnp.where(mask[:, None] & mask, log_plan, 0)
    information += 2 * jnp.log(count.astype(jnp.float32))
    return jnp.sum(conditional * (cost + temperature * information), axis=1)


def _log_plan(cost: Array, iterations: int, rows: Array, columns: Array) -> Float[Array, "B C"]:
    """log P for e = 1; NEG_INF where there is no mass."""
    both = rows[:, None] & columns
    kernel = jnp.where(both, -cost, NEG_INF)

    @jax.checkpoint
    def rescale(_, potential):
        of_rows = jax.nn.logsumexp(kernel + potential, axis=1, keepdims=True)
        of_rows = jnp.where(rows[:, None], of_rows, 0)
        of_columns = jax.nn.logsumexp(kernel - of_rows, axis=0)
        return jnp.where(columns, -of_columns, 0)

    potential = jax.lax.fori_loop(0, iterations, rescale, jnp.zeros(len(columns)))
    shares = jax.nn.log_softmax(kernel + potential, axis=1)
    log_rows = jnp.log(jnp.maximum(jnp.sum(rows), 1).astype(jnp.float32))
    return jnp.where(both, shares - log_rows, NEG_INF)

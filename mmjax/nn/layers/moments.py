"""Mean and variance of the real rows of a batch."""

import math

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mmjax.nn.kernels.devices import over_all_rows

# Mean [channels], variance [channels] and number of values [].
Moments = tuple[Array, Array, Array]


def masked_moments(x: Float[Array, "R *places channels"], mask: Bool[Array, " R"]) -> Moments:
    """Mean and biased variance of each channel over the real rows, and the number of their values.

    Zeros if no row is real; what the other rows hold is finite. Each row is summed by itself before
    the rows are, so that devices that share a batch exchange sums only. Under `jax.pmap` the rows
    are those of all devices, too (see `over_all_rows`).
    """
    places = tuple(range(1, x.ndim - 1))
    size = math.prod(x.shape[1:-1])
    real = mask[:, None]
    count = over_all_rows(jnp.sum(mask, dtype=jnp.float32))
    rows = jnp.maximum(count, 1.0)
    row_means = jnp.mean(x, places)
    mean = over_all_rows(jnp.sum(jnp.where(real, row_means, 0.0), 0)) / rows
    # Variance within the rows and between them: exact even if the mean is far from zero.
    own_mean = jnp.expand_dims(row_means, places)
    squares = jnp.mean((x - own_mean) ** 2, places) + (row_means - mean) ** 2
    variance = over_all_rows(jnp.sum(jnp.where(real, squares, 0.0), 0)) / rows
    return mean, variance, count * size

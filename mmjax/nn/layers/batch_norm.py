"""Batch normalisation (Ioffe & Szegedy 2015, https://arxiv.org/abs/1502.03167)."""

import functools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

# Mean [channels], variance [channels] and number of values [].
Moments = tuple[Array, Array, Array]
STATISTICS = "batch_stats"  # the collection of the running statistics


def masked_moments(x: Float[Array, "R *places channels"], mask: Bool[Array, " R"]) -> Moments:
    """Mean and biased variance of each channel over the real rows, and the number of their values.

    Zeros if no row is real; what the other rows hold is finite. Each row is summed by itself before
    the rows are, so that devices that share a batch exchange sums only.
    """
    places = tuple(range(1, x.ndim - 1))
    size = math.prod(x.shape[1:-1])
    real = mask[:, None]
    rows = jnp.maximum(jnp.sum(mask, dtype=jnp.float32), 1.0)
    row_means = jnp.mean(x, places)
    mean = jnp.sum(jnp.where(real, row_means, 0.0), 0) / rows
    # Variance within the rows and between them: exact even if the mean is far from zero.
    own_mean = jnp.expand_dims(row_means, places)
    squares = jnp.mean((x - own_mean) ** 2, places) + (row_means - mean) ** 2
    variance = jnp.sum(jnp.where(real, squares, 0.0), 0) / rows
    return mean, variance, jnp.sum(mask, dtype=jnp.float32) * size


@functools.partial(jax.custom_vjp, nondiff_argnums=(4,))
def normalise(
    x: Float[Array, "R *places channels"],
    mask: Bool[Array, " R"],
    scale: Float[Array, " channels"],
    bias: Float[Array, " channels"],
    epsilon: float,
) -> tuple[Float[Array, "R *places channels"], Moments]:
    """(x - mean) / sqrt(variance + epsilon) * scale + bias by the moments of the real rows.

    Also gives these moments (see `masked_moments`), of which no gradient is taken. Only the first
    derivative is defined, and only in reverse: in two sums over the batch instead of four.
    """
    return _normalise_forward(x, mask, scale, bias, epsilon)[0]


def _normalise_forward(x, mask, scale, bias, epsilon):
    mean, variance, count = masked_moments(x, mask)
    inverse = 1 / jnp.sqrt(variance + epsilon)
    y = (x - mean) * (scale * inverse) + bias
    return (y, (mean, variance, count)), (x, mask, scale, mean, inverse, count)


def _normalise_backward(epsilon, residuals, cotangents):
    del epsilon
    x, mask, scale, mean, inverse, count = residuals
    real = jnp.expand_dims(mask, tuple(range(1, x.ndim)))
    d_y = jnp.where(real, cotangents[0], 0.0)
    normal = (x - mean) * inverse
    places = tuple(range(1, x.ndim - 1))
    sums = jnp.stack([jnp.sum(d_y, places), jnp.sum(d_y * normal, places)], axis=1)
    d_bias, d_scale = jnp.sum(sums, 0)
    through_moments = (d_bias + normal * d_scale) / jnp.maximum(count, 1.0)
    d_x = jnp.where(real, (d_y - through_moments) * (scale * inverse), 0.0)
    return d_x, None, d_scale, d_bias


normalise.defvjp(_normalise_forward, _normalise_backward)


class BatchNorm(nn.Module):
    """(x - mean) / sqrt(variance + epsilon) * scale + bias, for each channel (the last axis).

    In training, mean and variance are those of the real rows of the batch, over all places, so a
    row's output depends on the other real rows; what is masked contributes nothing. A batch without
    a real row gives zeros and leaves the running statistics as they are. In evaluation
    the running statistics are used, and rows do not see each other. Under jit the batch is the
    global one, however many devices share it.

    The conventions are PyTorch's: running = (1 - momentum) * running + momentum * batch; the batch
    is normalised by its biased variance, the running one takes the unbiased (a batch of one value:
    0). The running statistics are "mean" and "var" in the collection "batch_stats", which has to be
    mutable in training.

    Attributes:
        momentum: weight of the batch in the running statistics.
        epsilon: added to the variance.
    """

    momentum: float = 0.1
    epsilon: float = 1e-5

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "R *places channels"],
        mask: Bool[Array, " R"] | None = None,
        *,
        deterministic: bool = True,
    ) -> Float[Array, "R *places channels"]:
        """`x` normalised in float32, in the type of `x`; exact zeros in the rows that are masked.

        Args:
            x: channels last.
            mask: which rows are real. None: all are.
            deterministic: False in training.
        """
        channels = x.shape[-1:]
        scale = self.param("scale", nn.initializers.ones, channels, jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, channels, jnp.float32)
        running_mean = self.variable(STATISTICS, "mean", jnp.zeros, channels, jnp.float32)
        running_variance = self.variable(STATISTICS, "var", jnp.ones, channels, jnp.float32)
        mask = jnp.ones(x.shape[:1], bool) if mask is None else mask
        real = jnp.expand_dims(mask, tuple(range(1, x.ndim)))
        y = jnp.where(real, x.astype(jnp.float32), 0.0)
        mean, variance = running_mean.value, running_variance.value
        if deterministic:
            y = (y - mean) * (scale / jnp.sqrt(variance + self.epsilon)) + bias
        else:
            y, moments = normalise(y, mask, scale, bias, self.epsilon)
            batch_mean, batch_variance, count = jax.lax.stop_gradient(moments)
            if not self.is_initializing():
                unbiased = batch_variance * (count / jnp.maximum(count - 1.0, 1.0))
                weight = jnp.where(count > 0, self.momentum, 0.0)
                running_mean.value = mean + weight * (batch_mean - mean)
                running_variance.value = variance + weight * (unbiased - variance)
        return jnp.where(real, y, 0.0).astype(x.dtype)

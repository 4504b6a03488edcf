"""Batch normalisation (Ioffe & Szegedy 2015, https://arxiv.org/abs/1502.03167)."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mmjax.nn.kernels import batch_norm as kernel
from mmjax.nn.kernels.switch import dispatch
from mmjax.nn.layers.moments import Moments, masked_moments

STATISTICS = "batch_stats"  # the collection of the running statistics


def normalise(
    x: Float[Array, "R *places channels"],
    mask: Bool[Array, " R"],
    scale: Float[Array, " channels"],
    bias: Float[Array, " channels"],
    epsilon: float,
) -> tuple[Float[Array, "R *places channels"], Moments]:
    """(x - mean) / sqrt(variance + epsilon) * scale + bias by the moments of the real rows.

    Also gives these moments (see `masked_moments`), of which no gradient is taken.
    """
    fast = functools.partial(kernel.normalise, epsilon=epsilon)
    plain = functools.partial(_plain, epsilon=epsilon)
    y, moments = dispatch(x, mask, scale, bias, cpu=fast, default=plain)
    return y, jax.lax.stop_gradient(moments)


def _plain(x, mask, scale, bias, epsilon):
    moments = masked_moments(x, mask)
    mean, variance, _ = moments
    return (x - mean) * (scale / jnp.sqrt(variance + epsilon)) + bias, moments


class BatchNorm(nn.Module):
    """(x - mean) / sqrt(variance + epsilon) * scale + bias, for each channel (the last axis).

    In training, mean and variance are those of the real rows of the batch, over all places, so a
    row's output depends on the other real rows; what is masked contributes nothing. A batch without
    a real row gives zeros and leaves the running statistics as they are. In evaluation
    the running statistics are used, and rows do not see each other. The batch is the global one,
    however many devices share it, under `jax.jit` and under `jax.pmap(..., axis_name="batch")`.

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
            batch_mean, batch_variance, count = moments
            if not self.is_initializing():
                unbiased = batch_variance * (count / jnp.maximum(count - 1.0, 1.0))
                weight = jnp.where(count > 0, self.momentum, 0.0)
                running_mean.value = mean + weight * (batch_mean - mean)
                running_variance.value = variance + weight * (unbiased - variance)
        return jnp.where(real, y, 0.0).astype(x.dtype)

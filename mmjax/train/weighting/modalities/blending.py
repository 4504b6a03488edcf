"""Weights of modalities by how they overfit: gradient blending."""

import jax.numpy as jnp
from jaxtyping import Array, Float

Losses = Float[Array, " models"]


def gradient_blending(
    train_before: Losses, train_after: Losses, val_before: Losses, val_after: Losses
) -> Losses:
    """The weights of losses of several models, of each modality and of all, which sum to 1.

    With the gain G = val_before - val_after and the growth of overfitting
    O = (val_after - train_after) - (val_before - train_before), a weight is G / O^2 by their sum.
    Wang et al. 2020 (https://arxiv.org/abs/1905.12681). What gains nothing gets 0; if nothing
    gains, all get the same. They are for a next span of training: a step does not see validation
    losses.

    Args:
        train_before, train_after: training losses at the beginning and end of a span of training.
        val_before, val_after: validation losses there.
    """
    gain = jnp.maximum(val_before - val_after, 0.0)
    overfitting = (val_after - train_after) - (val_before - train_before)
    weights = gain / jnp.maximum(overfitting**2, 1e-12)
    total = weights.sum()
    return jnp.where(total > 0, weights / jnp.where(total > 0, total, 1.0), 1 / len(weights))

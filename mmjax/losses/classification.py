"""Losses for one label out of C classes."""

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int


def cross_entropy(
    logits: Float[Array, "B C"], labels: Int[Array, " B"], *, label_smoothing: float = 0.0
) -> Float[Array, " B"]:
    """Softmax cross-entropy in nats, in float32 whatever the logits are.

    -sum_c q_c log softmax(logits)_c with q = (1 - s) onehot(label) + s / C.

    Args:
        logits: unnormalised scores.
        labels: class indices in [0, C).
        label_smoothing: s in [0, 1); 0 is the plain loss.

    References:
        Szegedy et al., Rethinking the Inception Architecture, 2016 (label smoothing).
    """
    targets = jax.nn.one_hot(labels, logits.shape[-1], dtype=jnp.float32)
    targets = optax.smooth_labels(targets, label_smoothing)
    return optax.softmax_cross_entropy(logits.astype(jnp.float32), targets)

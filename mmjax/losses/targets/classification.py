"""Losses for one label out of C classes.

`class_weights` [C] multiply; nothing is divided by their sum, because the step divides by the count
of rows. `mmjax.losses.targets.class_weights` makes weights whose mean over the examples is 1.
"""

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from mmjax.nn.layers.masking import NEG_INF

Logits = Float[Array, "B C"]
Labels = Int[Array, " B"]
PerClass = Float[Array, " C"]


def cross_entropy(
    logits: Logits,
    labels: Labels,
    *,
    label_smoothing: float = 0.0,
    class_weights: PerClass | None = None,
) -> Float[Array, " B"]:
    """-w_label sum_c q_c log softmax(logits)_c with q = (1 - s) onehot(label) + s / C.

    Softmax cross-entropy in nats. The weight is that of the label's class, also for the part of the
    loss that smoothing moves to other classes (torch weighs each class's part by its own weight;
    `soft_cross_entropy` of the smoothed labels does that).

    Args:
        logits: unnormalised scores.
        labels: class indices in [0, C).
        label_smoothing: s in [0, 1); 0 is the plain loss.
        class_weights: w; None weighs all classes 1.

    References:
        Szegedy et al. 2016, https://arxiv.org/abs/1512.00567 (label smoothing)
    """
    targets = jax.nn.one_hot(labels, logits.shape[-1], dtype=jnp.float32)
    targets = optax.smooth_labels(targets, label_smoothing)
    losses = optax.softmax_cross_entropy(logits.astype(jnp.float32), targets)
    return _weighted(losses, labels, class_weights)


def soft_cross_entropy(
    logits: Logits, targets: Logits, *, class_weights: PerClass | None = None
) -> Float[Array, " B"]:
    """-sum_c w_c q_c log softmax(logits)_c for a distribution q over the classes.

    Args:
        logits: unnormalised scores.
        targets: q, non-negative: a teacher's probabilities, mixed labels, votes of annotators. It
            is taken as it is: a row that sums to 2 has twice the loss, a row of zeros none.
        class_weights: w; None weighs all classes 1.

    References:
        Hinton et al. 2015, https://arxiv.org/abs/1503.02531
    """
    targets = targets.astype(jnp.float32)
    if class_weights is not None:
        targets = targets * class_weights.astype(jnp.float32)
    return optax.softmax_cross_entropy(logits.astype(jnp.float32), targets)


def focal(
    logits: Logits, labels: Labels, *, gamma: float = 2.0, class_weights: PerClass | None = None
) -> Float[Array, " B"]:
    """-w_label (1 - p)^gamma log p with p = softmax(logits)_label: what is easy counts little.

    Args:
        logits: unnormalised scores.
        labels: class indices in [0, C).
        gamma: how little; 0 is cross-entropy.
        class_weights: w (the paper's alpha); None weighs all classes 1.

    References:
        Lin et al. 2017, https://arxiv.org/abs/1708.02002
    """
    logits = logits.astype(jnp.float32)
    right = jax.nn.one_hot(labels, logits.shape[-1], dtype=bool)
    # log(1 - p) from the other classes' logits: 1 - p itself is 0 long before its logarithm is.
    others = jax.nn.logsumexp(jnp.where(right, NEG_INF, logits), axis=-1)
    log_wrong = others - jax.nn.logsumexp(logits, axis=-1)
    losses = jnp.exp(gamma * log_wrong) * cross_entropy(logits, labels)
    return _weighted(losses, labels, class_weights)


def logit_adjusted(
    logits: Logits, labels: Labels, *, prior: PerClass | None = None, tau: float = 1.0
) -> Float[Array, " B"]:
    """-log softmax(logits + tau log prior)_label: rare classes get the larger margin.

    Args:
        logits: unnormalised scores; use them unadjusted for prediction.
        labels: class indices in [0, C).
        prior: how often each class is in the training set, in counts or as a share. A class of
            prior 0 counts as if its prior were the smallest normal float32, 1.2e-38.
        tau: strength; 0 is cross-entropy.

    Raises:
        ValueError: prior is None.

    References:
        Menon et al. 2021, https://arxiv.org/abs/2007.07314
    """
    if prior is None:
        raise ValueError(
            "prior is None; give the share of each class in the training set [C], for example "
            "numpy.bincount(labels, minlength=C) / len(labels)"
        )
    lowest = jnp.finfo(jnp.float32).tiny
    offset = tau * jnp.log(jnp.maximum(prior.astype(jnp.float32), lowest))
    return cross_entropy(logits.astype(jnp.float32) + offset, labels)


def entropy(logits: Logits) -> Float[Array, " B"]:
    """-sum_c p_c log p_c with p = softmax(logits), in nats: low where the model is sure.

    A loss for examples without a label; as a bonus against overconfidence, weigh it negatively.

    References:
        Grandvalet & Bengio 2004,
        https://papers.nips.cc/paper/2740-semi-supervised-learning-by-entropy-minimization
    """
    log_p = jax.nn.log_softmax(logits.astype(jnp.float32))
    return -jnp.sum(jnp.exp(log_p) * log_p, axis=-1)


def _weighted(
    losses: Float[Array, " B"], labels: Labels, class_weights: PerClass | None
) -> Float[Array, " B"]:
    return losses if class_weights is None else losses * class_weights.astype(jnp.float32)[labels]

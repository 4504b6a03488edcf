"""Losses for questions of yes or no: many labels at once, answers with scores, matching pairs.

`targets` are bool, integers or shares in [0, 1]; a logit is that of yes.
"""

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Shaped

Logits = Float[Array, "B *C"]
Targets = Shaped[Array, "B *C"]
Marks = Bool[Array, "B *C"]


def binary_cross_entropy(
    logits: Logits,
    targets: Targets,
    *,
    class_weights: Float[Array, "*C"] | None = None,
    label_smoothing: float = 0.0,
) -> Float[Array, " B"]:
    """mean_c of -w_c t_c log sigmoid(logit_c) - (1 - t_c) log(1 - sigmoid(logit_c)), in nats.

    Args:
        logits: [B C], or [B] for one question.
        targets: t, of the same shape.
        class_weights: w [C], the weight of a yes (torch's pos_weight); negatives / positives of a
            class makes both weigh the same. None weighs 1.
        label_smoothing: s in [0, 1); t becomes (1 - s) t + s / 2.
    """
    logits = logits.astype(jnp.float32)
    targets = (1 - label_smoothing) * targets.astype(jnp.float32) + label_smoothing / 2
    weights = jnp.float32(1) if class_weights is None else class_weights.astype(jnp.float32)
    yes = weights * targets * jax.nn.log_sigmoid(logits)
    return _mean(-yes - (1 - targets) * jax.nn.log_sigmoid(-logits))


def sigmoid_focal(
    logits: Logits, targets: Targets, *, gamma: float = 2.0, alpha: float | None = 0.25
) -> Float[Array, " B"]:
    """mean_c of -alpha_t (1 - p_t)^gamma log p_t, p_t the probability given to what is right.

    The paper divides the sum by the count of positives of the whole batch instead.

    Args:
        logits: [B C], or [B] for one question.
        targets: of the same shape.
        gamma: how little counts what is easy; 0 is binary cross-entropy.
        alpha: weight of a yes; that of a no is 1 - alpha. None weighs both 1.

    References:
        Lin et al. 2017, https://arxiv.org/abs/1708.02002
    """
    targets = targets.astype(jnp.float32)
    logits = logits.astype(jnp.float32)
    return _mean(optax.sigmoid_focal_loss(logits, targets, alpha=alpha, gamma=gamma))


def vqa_soft(logits: Float[Array, "B C"], targets: Shaped[Array, "B C"]) -> Float[Array, " B"]:
    """sum_c of the binary cross-entropy with the score t_c in [0, 1] of each of C answers.

    The sum over the answers, as in the bottom-up-attention code for VQA: C times the value and the
    gradient of `binary_cross_entropy`. With thousands of answers, nearly all wrong, the mean makes
    the gradient of the few right ones tiny; learning rates of the literature are for the sum.

    Args:
        logits: of each answer.
        targets: the VQA score, min(1, annotators who gave the answer / 3).

    References:
        Teney et al. 2018, https://arxiv.org/abs/1708.02711
    """
    return binary_cross_entropy(logits, targets) * logits.shape[1]


def image_text_matching(
    scores: Logits, targets: Targets, *, pairs: Marks | None = None
) -> Float[Array, " B"]:
    """mean_c of -t log sigmoid(score) - (1 - t) log(1 - sigmoid(score)): do these two match?

    A head with two logits is the same with score = logit of match - logit of no match.

    Args:
        scores: the logit of "match" of each pair that the model has fused, [B], or [B C] where each
            row has several (its own and its negatives).
        targets: t, whether they match.
        pairs: which pairs count; a row without any is 0. None: all.

    References:
        Li et al. 2021, https://arxiv.org/abs/2107.07651
    """
    if pairs is None:
        return binary_cross_entropy(scores, targets)
    scores = jnp.where(pairs, scores, 0)
    each = binary_cross_entropy(scores.reshape(-1), targets.reshape(-1)).reshape(pairs.shape)
    axes = tuple(range(1, pairs.ndim))
    return jnp.sum(jnp.where(pairs, each, 0), axes) / jnp.maximum(jnp.sum(pairs, axes), 1)


def _mean(losses: Logits) -> Float[Array, " B"]:
    return jnp.mean(losses, axis=tuple(range(1, losses.ndim)))

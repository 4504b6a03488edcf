"""Rules that combine the decisions of several classifiers, one per modality.

Each takes logits [B M C] and which modalities are present [B M], and returns logits [B C] in
float32: logarithms of probabilities. Logits of absent modalities are never read. With no modality
present all classes are equally probable.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mmjax.nn.layers.masking import zero_masked

TIE_BREAK = 0.5  # of a vote; less than one, so that probabilities only decide between equal counts


def log_probabilities(
    logits: Float[Array, "B M C"], present: Bool[Array, "B M"]
) -> Float[Array, "B M C"]:
    """log softmax of the logits; -log C for every class where a modality is absent."""
    return jax.nn.log_softmax(zero_masked(logits.astype(jnp.float32), present))


def weighted(
    logits: Float[Array, "B M C"], present: Bool[Array, "B M"], scores: Float[Array, " M"]
) -> Float[Array, "B C"]:
    """log sum_m w_m p_m, with w the softmax of the scores over the present modalities."""
    # Where all are absent, all count: they are all uniform.
    counted = present | ~jnp.any(present, axis=1, keepdims=True)
    masked = jnp.where(counted, scores.astype(jnp.float32), jnp.finfo(jnp.float32).min)
    log_weights = jnp.where(counted, jax.nn.log_softmax(masked), -jnp.inf)
    return jax.nn.logsumexp(log_probabilities(logits, present) + log_weights[:, :, None], axis=1)


def average(logits: Float[Array, "B M C"], present: Bool[Array, "B M"]) -> Float[Array, "B C"]:
    """The logarithm of the mean probability: the sum rule, or soft vote.

    Kittler et al. 1998, https://doi.org/10.1109/34.667881.
    """
    return weighted(logits, present, jnp.zeros(logits.shape[1]))


def product(logits: Float[Array, "B M C"], present: Bool[Array, "B M"]) -> Float[Array, "B C"]:
    """log softmax of the sum of log probabilities: the product rule, for equal priors.

    Kittler et al. 1998; a product of experts, Hinton 2002,
    https://doi.org/10.1162/089976602760128018.
    """
    total = jnp.sum(zero_masked(log_probabilities(logits, present), present), axis=1)
    return jax.nn.log_softmax(total)


def vote(logits: Float[Array, "B M C"], present: Bool[Array, "B M"]) -> Float[Array, "B C"]:
    """log((votes + a p) / (n + a)), with n present modalities, p their mean probability, a = 0.5.

    Each present modality votes for its most probable class. The class with most votes wins, and of
    those with equally many the one that is more probable on average. Votes are not differentiable.
    """
    classes = logits.shape[-1]
    chosen = jnp.argmax(log_probabilities(logits, present), axis=-1)
    ballots = jax.nn.one_hot(chosen, classes) * present[:, :, None]
    votes = jnp.sum(ballots, axis=1)
    log_prior = jnp.log(TIE_BREAK) + average(logits, present)
    # Log of the sum apart from log of the prior alone, which may be too small to be a number.
    some = jnp.log(jnp.maximum(votes, 1.0) + jnp.exp(log_prior))
    total = jnp.sum(present, axis=1, keepdims=True) + TIE_BREAK
    return jnp.where(votes > 0, some, log_prior) - jnp.log(total)

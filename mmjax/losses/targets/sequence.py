"""Losses for sequences of tokens: written one by one, filled in, or aligned with frames.

Masks [B L] and [B T] are True where a token or frame counts. What is masked contributes nothing,
whatever it holds.
"""

import functools

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from mmjax.losses.targets.classification import cross_entropy
from mmjax.nn.layers.masking import NEG_INF

REDUCTIONS = {
    "mean": lambda losses, count: jnp.sum(losses, axis=1) / jnp.maximum(count, 1),
    "sum": lambda losses, _: jnp.sum(losses, axis=1),
}


def sequence_cross_entropy(
    logits: Float[Array, "B L V"],
    tokens: Int[Array, "B L"],
    mask: Bool[Array, "B L"],
    *,
    label_smoothing: float = 0.0,
    reduce: str = "mean",
) -> Float[Array, " B"]:
    """mean_l of -log softmax(logits_l)_token_l over the tokens that count; 0 where none does.

    Args:
        logits: unnormalised scores for each position.
        tokens: what is right there, in [0, V); for a language model the next token.
        mask: which positions count.
        label_smoothing: as in `cross_entropy`.
        reduce: "mean" over the tokens of each example, so that all examples weigh the same, or
            "sum": the negative log-likelihood of the sequence in nats.

    Raises:
        ValueError: reduce is neither.

    References:
        Sutskever et al. 2014, https://arxiv.org/abs/1409.3215
    """
    if reduce not in REDUCTIONS:
        raise ValueError(f"reduce is {reduce!r}; there is: {', '.join(sorted(REDUCTIONS))}")
    logits = jnp.where(mask[:, :, None], logits, 0)
    losses = jax.vmap(functools.partial(cross_entropy, label_smoothing=label_smoothing))
    return REDUCTIONS[reduce](jnp.where(mask, losses(logits, tokens), 0), jnp.sum(mask, axis=1))


def masked_modelling(
    logits: Float[Array, "B L V"], tokens: Int[Array, "B L"], predicted: Bool[Array, "B L"]
) -> Float[Array, " B"]:
    """mean_l of -log softmax(logits_l)_token_l over the predicted positions; 0 where none is.

    Args:
        logits: unnormalised scores for each position.
        tokens: the sequence before anything was masked out.
        predicted: which positions the model must fill in; `mask_tokens` chooses them.

    References:
        Devlin et al. 2019, https://arxiv.org/abs/1810.04805
    """
    return sequence_cross_entropy(logits, tokens, predicted)


def mask_tokens(
    key: PRNGKeyArray,
    tokens: Int[Array, "B L"],
    mask: Bool[Array, "B L"],
    *,
    mask_id: int,
    vocabulary_size: int,
    share: float = 0.15,
    to_mask: float = 0.8,
    to_random: float = 0.1,
    first_id: int = 0,
) -> tuple[Int[Array, "B L"], Bool[Array, "B L"]]:
    """Chooses each token with probability `share`; 80% become the mask, 10% a random token.

    Args:
        key: of jax.random.
        tokens: a batch of sequences.
        mask: which tokens may be chosen: not padding, and not [CLS] or [SEP].
        mask_id: the token that stands for a gap.
        vocabulary_size: a random token is of [first_id, vocabulary_size).
        share: of the tokens that may be chosen, each by itself; a short sequence may have none.
        to_mask, to_random: shares of the chosen; the rest of them stays as it is.
        first_id: leaves special tokens at the start of the vocabulary out of the random ones.

    Returns:
        The model's input, and which positions were chosen.

    Raises:
        ValueError: to_mask and to_random are more than 1 together.

    References:
        Devlin et al. 2019, https://arxiv.org/abs/1810.04805
    """
    if to_mask + to_random > 1:
        raise ValueError(f"to_mask + to_random is {to_mask + to_random}; it must be at most 1")
    choice, action, replacement = jax.random.split(key, 3)
    predicted = mask & jax.random.bernoulli(choice, share, tokens.shape)
    action = jax.random.uniform(action, tokens.shape)
    others = jax.random.randint(replacement, tokens.shape, first_id, vocabulary_size, tokens.dtype)
    inputs = jnp.where(predicted & (action < to_mask + to_random), others, tokens)
    return jnp.where(predicted & (action < to_mask), mask_id, inputs), predicted


def ctc(
    logits: Float[Array, "B T V"],
    logit_mask: Bool[Array, "B T"],
    labels: Int[Array, "B L"],
    label_mask: Bool[Array, "B L"],
    *,
    blank: int = 0,
) -> Float[Array, " B"]:
    """-log of the summed probability of all alignments of the label with the frames, in nats.

    Without labels it is that of blanks only. A row with too few frames for its label has no
    alignment: its loss is 0 and without gradient (torch's zero_infinity). Find such rows with
    `alignable` and count them, or they look learned.

    Args:
        logits: unnormalised scores of V tokens for each frame.
        logit_mask: which frames count; the others are left out.
        labels: tokens in [0, V), never the blank.
        label_mask: which labels count; the others are left out.
        blank: the token of a frame that adds nothing.

    References:
        Graves et al. 2006, https://doi.org/10.1145/1143844.1143891
    """
    labels, label_mask = _to_the_left(labels, label_mask, blank)
    # Probabilities are picked by a product with one-hot labels, which must not round them.
    with jax.default_matmul_precision("float32"):
        losses = optax.ctc_loss(
            jnp.where(logit_mask[:, :, None], logits, 0).astype(jnp.float32),
            (~logit_mask).astype(jnp.float32),
            labels,
            (~label_mask).astype(jnp.float32),
            blank_id=blank,
            # The default of -1e5 is no less than what five frames with logits of 1e4 add up to.
            log_epsilon=NEG_INF,
        )
    return jnp.where(alignable(logit_mask, labels, label_mask), losses, 0)


def alignable(
    logit_mask: Bool[Array, "B T"], labels: Int[Array, "B L"], label_mask: Bool[Array, "B L"]
) -> Bool[Array, " B"]:
    """Whether there are frames enough: one for each label, and a blank between two equal ones."""
    labels, label_mask = _to_the_left(labels, label_mask, 0)
    repeated = (labels[:, 1:] == labels[:, :-1]) & label_mask[:, 1:]
    return jnp.sum(logit_mask, axis=1) >= jnp.sum(label_mask, axis=1) + jnp.sum(repeated, axis=1)


def _to_the_left(labels, mask, filler):
    """Labels that count first, in their order; `filler` after them."""
    order = jnp.argsort(~mask, axis=1, stable=True)
    mask = jnp.take_along_axis(mask, order, axis=1)
    return jnp.where(mask, jnp.take_along_axis(labels, order, axis=1), filler), mask

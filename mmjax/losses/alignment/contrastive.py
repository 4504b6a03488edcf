"""Contrastive losses between two sets of embeddings, one value for each row.

Row i of `a` and row i of `b` are of the same example. Similarities are products, so embeddings of
length one have cosines. Everything is in float32 and in the global view: a batch sharded over
devices has the loss and the gradients of one device.

Arguments that all have:
    a, b: embeddings [B E] of two modalities.
    mask: [B] whether the example has both; others contribute nothing and have a loss of 0.
    positives: [B B] whether b[j] is right for a[i], where more than i == j is: five captions of a
        picture, or the same caption twice. Positives are never negatives.
"""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from mmjax.nn.layers.masking import NEG_INF

Embeddings = Float[Array, "B E"]
Rows = Bool[Array, " B"]
Pairs = Bool[Array, "B B"]
Number = float | Float[Array, ""]


def info_nce(
    a: Embeddings,
    b: Embeddings,
    *,
    temperature: Number = 0.07,
    temperature_b: Number | None = None,
    mask: Rows | None = None,
    positives: Pairs | None = None,
) -> Float[Array, " B"]:
    """log sum_k exp(l_ik) - l_ij with l = a b^T / temperature, averaged over i's positives j.

    InfoNCE; NT-Xent between two sets, and CLIP's loss with exp(-logit_scale) as temperature. The
    same for columns, and the mean of both. `temperature_b` is that of the columns, where it is
    another one, as in CLAP.

    References:
        van den Oord et al. 2018, https://arxiv.org/abs/1807.03748;
        Radford et al. 2021, https://arxiv.org/abs/2103.00020
    """
    logits, right, both = _pairs(a, b, temperature, mask, positives)
    columns = logits.T if temperature_b is None else logits.T * (temperature / temperature_b)
    return (_softmax(logits, right, both) + _softmax(columns, right.T, both)) / 2


def supervised(
    embeddings: Embeddings,
    labels: Int[Array, " B"],
    *,
    temperature: Number = 0.1,
    mask: Rows | None = None,
) -> Float[Array, " B"]:
    """InfoNCE within one set: all others of the same label are right; 0 where there are none.

    With the number of the example as label, of two views each, it is SimCLR's NT-Xent.

    References:
        Khosla et al. 2020, https://arxiv.org/abs/2004.11362 (L_out);
        Chen et al. 2020, https://arxiv.org/abs/2002.05709
    """
    same = labels[:, None] == labels
    logits, right, both = _pairs(embeddings, embeddings, temperature, mask, same)
    others = ~jnp.eye(len(labels), dtype=bool)
    return _softmax(logits, right & others, both & others)


def decoupled(
    a: Embeddings,
    b: Embeddings,
    *,
    temperature: Number = 0.1,
    mask: Rows | None = None,
    positives: Pairs | None = None,
) -> Float[Array, " B"]:
    """InfoNCE whose sum in the logarithm leaves the positives out; 0 for a row without negatives.

    References:
        Yeh et al. 2022, https://arxiv.org/abs/2110.06848
    """
    logits, right, both = _pairs(a, b, temperature, mask, positives)
    rows = _weighted(logits, right, both, 0.0, among=False)
    return (rows + _weighted(logits.T, right.T, both, 0.0, among=False)) / 2


def hard_negative(
    a: Embeddings,
    b: Embeddings,
    *,
    temperature: Number = 0.1,
    hardness: float = 1.0,
    mask: Rows | None = None,
    positives: Pairs | None = None,
) -> Float[Array, " B"]:
    """InfoNCE whose negatives weigh exp(hardness * logit), of mean 1; hardness 0 is InfoNCE.

    References:
        Robinson et al. 2021, https://arxiv.org/abs/2010.04592 (without debiasing)
    """
    logits, right, both = _pairs(a, b, temperature, mask, positives)
    rows = _weighted(logits, right, both, hardness, among=True)
    return (rows + _weighted(logits.T, right.T, both, hardness, among=True)) / 2


def sigmoid(
    a: Embeddings,
    b: Embeddings,
    *,
    temperature: Number = 0.1,
    bias: Number = -10.0,
    mask: Rows | None = None,
    positives: Pairs | None = None,
) -> Float[Array, " B"]:
    """sum_j log(1 + exp(-z_ij (a_i . b_j / temperature + bias))), z = 1 if right, else -1.

    SigLIP's loss: each pair by itself.

    References:
        Zhai et al. 2023, https://arxiv.org/abs/2303.15343
    """
    logits, right, both = _pairs(a, b, temperature, mask, positives)
    losses = jax.nn.softplus(jnp.where(right, -1, 1) * (logits + bias))
    return jnp.sum(losses, axis=1, where=both)


def triplet(
    a: Embeddings,
    b: Embeddings,
    *,
    margin: float = 0.2,
    mining: str = "semi-hard",
    mask: Rows | None = None,
    positives: Pairs | None = None,
) -> Float[Array, " B"]:
    """max(0, margin + s_in - s_ij), the mean over i's positives j, then of both directions.

    Args:
        mining: which negative n: "hard" (the most similar), "semi-hard" (the most similar that is
            less similar than the positive; where there is none, the least similar) or "all" (mean).

    References:
        Schroff et al. 2015, https://arxiv.org/abs/1503.03832 (semi-hard);
        Faghri et al. 2018, https://arxiv.org/abs/1707.05612 (hard, both ways)
    """
    similarities, right, both = _pairs(a, b, 1.0, mask, positives)
    rows = _triplets(similarities, right, both, margin, mining)
    return (rows + _triplets(similarities.T, right.T, both, margin, mining)) / 2


def _pairs(
    a: Embeddings, b: Embeddings, temperature: Number, mask: Rows | None, positives: Pairs | None
) -> tuple[Float[Array, "B B"], Pairs, Pairs]:
    """Logits, which pairs are right, and of which both examples count."""
    rows = a.shape[0]
    mask = jnp.ones(rows, bool) if mask is None else mask
    right = jnp.eye(rows, dtype=bool) if positives is None else positives
    both = mask[:, None] & mask
    a, b = (jnp.where(mask[:, None], x, 0) for x in (a, b))
    products = jnp.einsum("ie,je->ij", a, b, preferred_element_type=jnp.float32)
    return products / temperature, right & both, both


def _mean(losses: Float[Array, "B B"], right: Pairs) -> Float[Array, " B"]:
    """The mean over the right pairs of each row, 0 where there is none."""
    count = jnp.sum(right, axis=1)
    return jnp.sum(jnp.where(right, losses, 0), axis=1) / jnp.maximum(count, 1)


def _softmax(logits: Float[Array, "B B"], right: Pairs, both: Pairs) -> Float[Array, " B"]:
    total = jax.nn.logsumexp(jnp.where(both, logits, NEG_INF), axis=1, keepdims=True)
    return _mean(total - logits, right)


def _weighted(
    logits: Float[Array, "B B"], right: Pairs, both: Pairs, hardness: float, among: bool
) -> Float[Array, " B"]:
    """InfoNCE with weighted negatives; `among`: whether the positive is in the logarithm's sum."""
    negative = both & ~right
    count = jnp.sum(negative, axis=1, keepdims=True)

    def total(scale):
        counted = jnp.where(negative, scale * logits, NEG_INF)
        return jax.nn.logsumexp(counted, axis=1, keepdims=True)

    negatives = jnp.log(jnp.maximum(count, 1)) + total(1 + hardness) - total(hardness)
    if among:
        negatives = jnp.where(count > 0, negatives, NEG_INF)
        return _mean(jnp.logaddexp(logits, negatives) - logits, right)
    return _mean(negatives - logits, right & (count > 0))


def _triplets(
    similarities: Float[Array, "B B"], right: Pairs, both: Pairs, margin: float, mining: str
) -> Float[Array, " B"]:
    negative = both & ~right
    some = jnp.any(negative, axis=1, keepdims=True)
    if mining == "all":
        return _mean(_mean_hinge(similarities, negative, margin), right & some)
    if mining == "hard":
        chosen = jnp.max(similarities, axis=1, where=negative, initial=NEG_INF, keepdims=True)
    elif mining == "semi-hard":
        chosen = _most_similar_below(similarities, negative)
    else:
        raise ValueError(f"mining is {mining!r}; there is: all, hard, semi-hard")
    return _mean(jnp.maximum(margin + chosen - similarities, 0), right & some)


# All of B^2 log B operations: comparing each positive with each negative would take B^3.


def _ascending(
    similarities: Float[Array, "B B"], negative: Pairs
) -> tuple[Float[Array, "B B"], Int[Array, "B B"]]:
    """The similarities of each row's negatives, infinity after them; and where they come from."""
    counted = jnp.where(negative, similarities, jnp.inf)
    order = jnp.argsort(counted, axis=1)
    return jnp.take_along_axis(counted, order, axis=1), order


def _most_similar_below(similarities: Float[Array, "B B"], negative: Pairs) -> Float[Array, "B B"]:
    """For each pair [i j] the largest s_in < s_ij of i's negatives n; the smallest if none is."""
    ascending, order = _ascending(similarities, negative)
    below = jax.vmap(jnp.searchsorted)(ascending, similarities)
    place = jnp.take_along_axis(order, jnp.maximum(below - 1, 0), axis=1)
    return jnp.take_along_axis(similarities, place, axis=1)


def _mean_hinge(
    similarities: Float[Array, "B B"], negative: Pairs, margin: float
) -> Float[Array, "B B"]:
    """For each pair [i j] the mean of max(0, margin + s_in - s_ij) over i's negatives n."""
    ascending, _ = _ascending(similarities, negative)
    threshold = similarities - margin
    first = jax.vmap(functools.partial(jnp.searchsorted, side="right"))(ascending, threshold)
    count = jnp.sum(negative, axis=1, keepdims=True)
    values = jnp.where(jnp.isfinite(ascending), ascending, 0)
    from_here = jnp.cumsum(values[:, ::-1], axis=1)[:, ::-1]
    from_here = jnp.pad(from_here, ((0, 0), (0, 1)))
    above = jnp.take_along_axis(from_here, first, axis=1)
    total = above - (count - first) * threshold
    return total / jnp.maximum(count, 1)

"""Losses of what modalities tell of each other: bounds of mutual information, and entropies.

Row i of `a` and row i of `b` are of the same example. A loss that takes `mask` [B] has rows that
see each other: what is masked contributes nothing and has a loss of 0. All is in nats and float32.
Learned critics and conditional distributions are models: their outputs are the inputs here.
"""

import math
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float

from mmjax.nn.layers.masking import NEG_INF

Embeddings = Float[Array, "B E"]
Rows = Bool[Array, " B"]
Pairs = Float[Array, "B B"]
Number = float | Float[Array, ""]

LARGEST = 30.0  # where the exponential becomes a line


def exponential(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """exp(x) up to x = 30, and from there its tangent: no overflow, and the gradient lives on."""
    return jnp.exp(jnp.minimum(x, LARGEST)) + math.exp(LARGEST) * jnp.maximum(x - LARGEST, 0)


def donsker_varadhan(scores: Pairs, *, mask: Rows | None = None) -> Float[Array, " B"]:
    """log mean_{j != k} exp(s_jk) - s_ii: its mean is minus MINE's lower bound of the information.

    The mean of exponentials is the batch's, so its gradient is biased in small batches. A row
    without another one has a loss of 0.

    Args:
        scores: the critic's value of a[i] and b[j]; the diagonal is of the joint distribution, the
            rest of the product of the marginals.

    References:
        Belghazi et al. 2018, https://arxiv.org/abs/1801.04062
    """
    joint, scores, others, counted = _sides(scores, mask)
    total = jax.nn.logsumexp(jnp.where(others, scores, NEG_INF))
    marginal = total - jnp.log(jnp.maximum(jnp.sum(others), 1))
    return jnp.where(counted, marginal - joint, 0)


def nwj(scores: Pairs, *, mask: Rows | None = None) -> Float[Array, " B"]:
    """mean_{j != i} exp(s_ij - 1) - s_ii: its mean is minus the bound of NWJ (also f-GAN's KL).

    A lower bound of the information without bias; its best critic is 1 + log p(a, b)/(p(a) p(b)).
    Where a score of a pair that is not of one example is over 31, its exponential goes on as its
    tangent: finite, but no bound there. A row without another one has a loss of 0.

    Args:
        scores: the critic's value of a[i] and b[j].

    References:
        Nguyen et al. 2010, https://doi.org/10.1109/TIT.2010.2068870
    """
    joint, scores, others, counted = _sides(scores, mask)
    marginal = _mean(exponential(scores - 1), others)
    return jnp.where(counted, marginal - joint, 0)


def jensen_shannon(scores: Pairs, *, mask: Rows | None = None) -> Float[Array, " B"]:
    """softplus(-s_ii) + mean_{j != i} softplus(s_ij): Deep InfoMax's bound, of opposite sign.

    It bounds the Jensen-Shannon divergence of the joint from the marginals, up to constants, and
    not the information; its gradient is of low variance. A row without another one has a loss of 0.

    Args:
        scores: the critic's value of a[i] and b[j].

    References:
        Hjelm et al. 2019, https://arxiv.org/abs/1808.06670
    """
    joint, scores, others, counted = _sides(scores, mask)
    marginal = _mean(jax.nn.softplus(scores), others)
    return jnp.where(counted, marginal + jax.nn.softplus(-joint), 0)


BOUNDS: Mapping = {
    "donsker_varadhan": donsker_varadhan,
    "jensen_shannon": jensen_shannon,
    "nwj": nwj,
}


def mine(
    a: Embeddings,
    b: Embeddings,
    *,
    temperature: Number = 1.0,
    bound: str = "donsker_varadhan",
    mask: Rows | None = None,
) -> Float[Array, " B"]:
    """A lower bound of the information, negated, with the critic s_ij = a_i . b_j / temperature.

    Args:
        bound: "donsker_varadhan", "nwj" or "jensen_shannon", the functions of these names.

    Raises:
        ValueError: another bound.

    References:
        Poole et al. 2019, https://arxiv.org/abs/1905.06922 (separable critics)
    """
    if bound not in BOUNDS:
        raise ValueError(f"bound is {bound!r}; there is: {', '.join(BOUNDS)}")
    return BOUNDS[bound](_affinities(a, b, temperature, mask), mask=mask)


def club(
    mean: Embeddings, log_variance: Embeddings, b: Embeddings, *, mask: Rows | None = None
) -> Float[Array, " B"]:
    """log q(b_i|a_i) - mean_j log q(b_j|a_i): CLUB, whose mean is minimised with q held fixed.

    With the true q it is an upper bound of the information between a and b. Each step minimises
    `gaussian_nll` in q's parameters, and this in those of a and b. A single row has a loss of 0.

    Args:
        mean, log_variance: of the Gaussian q(b|a_i), from a model that sees a_i. Variances under
            exp(-30) are treated as by `gaussian_nll`.

    References:
        Cheng et al. 2020, https://arxiv.org/abs/2006.12013
    """
    counted = jnp.ones(len(b), bool) if mask is None else mask
    each = counted[:, None]
    mean, log_variance, b = (
        jnp.where(each, x.astype(jnp.float32), 0) for x in (mean, log_variance, b)
    )
    count = jnp.maximum(jnp.sum(counted), 1)
    center = jnp.sum(b, axis=0) / count
    variance = jnp.sum((b - center) ** 2, axis=0, where=each) / count
    # mean_j (b_j - mean_i)^2 - (b_i - mean_i)^2, without the B x B differences.
    excess = variance + (center - b) * (center + b - 2 * mean)
    return jnp.where(counted, jnp.sum(excess * exponential(-log_variance), axis=1) / 2, 0)


def gaussian_nll(
    mean: Float[Array, "B D"], log_variance: Float[Array, "B D"], targets: Float[Array, "B D"]
) -> Float[Array, " B"]:
    """sum_d [(t_d - mean_d)^2 / variance_d + log(2 pi variance_d)] / 2 = -log N(t; mean, variance).

    Args:
        mean, log_variance: of the Gaussian. Where its variance is under exp(-30), the precision
            goes on as a line in the log variance: finite for all there are.
        targets: what the Gaussian is to give a high density.

    References:
        Nix & Weigend 1994, https://doi.org/10.1109/ICNN.1994.374138
    """
    mean, log_variance, targets = (x.astype(jnp.float32) for x in (mean, log_variance, targets))
    squares = (targets - mean) ** 2 * exponential(-log_variance)
    return jnp.sum(squares + log_variance + math.log(2 * math.pi), axis=1) / 2


def interaction_entropy(
    a: Embeddings, b: Embeddings, *, temperature: Number = 0.1, mask: Rows | None = None
) -> Float[Array, " B"]:
    """Entropy of softmax_j(a_i . b_j / temperature) / log(rows), the mean of both directions.

    How diffuse the affinities between the modalities are, in [0, 1]; minimised, they sharpen, onto
    whichever rows: it has to go with a loss that says which. A single row has a loss of 0.

    References:
        Grandvalet & Bengio 2004, https://papers.nips.cc/paper/2740-semi-supervised-learning-by-entropy-minimization
    """
    affinities = _affinities(a, b, temperature, mask)
    counted = jnp.ones(len(a), bool) if mask is None else mask
    both = counted[:, None] & counted
    most = jnp.log(jnp.maximum(jnp.sum(counted), 2))
    return (_entropies(affinities, both) + _entropies(affinities.T, both)) / (2 * most)


def functional_entropy(
    logits: Float[Array, "B C"], perturbed: Float[Array, "B K C"]
) -> Float[Array, " B"]:
    """mean f log mean f - mean_k f_k log f_k, f_k = KL(softmax(logits) || softmax(perturbed_k)).

    Minus the functional entropy of how far a perturbation of one modality moves the answer:
    minimised, the answer depends on the modality that is perturbed. At most 0; 0 where all K
    distances are the same. The authors' code divides f by its sum first; this is the paper's.

    Args:
        logits: of the model.
        perturbed: logits of the same examples with K draws of noise on the modality.

    References:
        Gat et al. 2020, https://arxiv.org/abs/2010.10802
    """
    original = jax.nn.log_softmax(logits.astype(jnp.float32))[:, None]
    moved = jax.nn.log_softmax(perturbed.astype(jnp.float32))
    distances = optax.losses.kl_divergence_with_log_targets(moved, original)
    # f log f is 0 at f = 0, and of infinite slope there. Rounding may put f below.
    positive = distances > 0
    distances = jnp.where(positive, distances, 0)
    mean = jnp.mean(distances, axis=1, keepdims=True)
    ratio = jnp.log(jnp.where(positive, distances, 1)) - jnp.log(jnp.where(mean > 0, mean, 1))
    return -jnp.mean(distances * ratio, axis=1)


def _sides(
    scores: Pairs, mask: Rows | None
) -> tuple[Float[Array, " B"], Pairs, Bool[Array, "B B"], Rows]:
    """Joint scores, all scores, which pairs are of the marginals, which rows have such a pair."""
    mask = jnp.ones(len(scores), bool) if mask is None else mask
    both = mask[:, None] & mask
    scores = jnp.where(both, scores.astype(jnp.float32), 0)
    others = both & ~jnp.eye(len(scores), dtype=bool)
    return jnp.diagonal(scores), scores, others, jnp.any(others, axis=1)


def _mean(values: Pairs, where: Bool[Array, "B B"]) -> Float[Array, " B"]:
    return jnp.sum(values, axis=1, where=where) / jnp.maximum(jnp.sum(where, axis=1), 1)


def _affinities(a: Embeddings, b: Embeddings, temperature: Number, mask: Rows | None) -> Pairs:
    if mask is not None:
        a, b = (jnp.where(mask[:, None], x, 0) for x in (a, b))
    return jnp.einsum("ie,je->ij", a, b, preferred_element_type=jnp.float32) / temperature


def _entropies(logits: Pairs, where: Bool[Array, "B B"]) -> Float[Array, " B"]:
    log_shares = jax.nn.log_softmax(jnp.where(where, logits, NEG_INF), axis=1)
    return -jnp.sum(jnp.exp(log_shares) * log_shares, axis=1, where=where)

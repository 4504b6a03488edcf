"""How two sets of embeddings lie to each other.

Of each row, in jax: cosine and agreement. Of a whole set, on the host and in float64: the others.
There, N is the number of examples, row i of `a` and `b` is of the same one, and what is not
defined for a set, such as a correlation of what is constant, is NaN.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.special import logsumexp

Features = Float[np.ndarray, "N D"]
OtherFeatures = Float[np.ndarray, "N D2"]
Gram = Float[np.ndarray, "N N"]

KERNELS = ("linear", "rbf")
ROWS = 1024  # whose distances to all others are held at a time
ROUNDING = 1e-12  # what varies less, relative to its size, is constant


def cosine(a: Float[Array, "B E"], b: Float[Array, "B E"]) -> Float[Array, " B"]:
    """a . b / (|a| |b|): how alike the two embeddings of an example are; 0 if one is all zeros."""
    return jnp.sum(_unit(a) * _unit(b), axis=-1)


def agreement(logits_a: Float[Array, "B C"], logits_b: Float[Array, "B C"]) -> Float[Array, " B"]:
    """1.0 where both have their highest logit at one class (the lowest index wins a tie)."""
    return (jnp.argmax(logits_a, axis=-1) == jnp.argmax(logits_b, axis=-1)).astype(jnp.float32)


def alignment(a: Features, b: Features, *, power: float = 2.0) -> float:
    """mean_i |a_i - b_i|^power of embeddings scaled to length one; 0 is the best.

    References:
        Wang & Isola 2020, https://arxiv.org/abs/2005.10242
    """
    distances = np.linalg.norm(_scaled(a) - _scaled(b), axis=1)
    return float(np.mean(distances**power)) if len(a) else float("nan")


def uniformity(x: Features, *, t: float = 2.0) -> float:
    """log mean_(i<j) exp(-t |x_i - x_j|^2) of embeddings scaled to length one; lower is better.

    References:
        Wang & Isola 2020, https://arxiv.org/abs/2005.10242
    """
    x, rows = _scaled(x), len(x)
    if rows < 2:
        return float("nan")
    squares = np.sum(x**2, axis=1)
    totals = []
    for start in range(0, rows - 1, ROWS):
        chunk = x[start : start + ROWS]
        distances = squares[start : start + ROWS, None] + squares[start:] - 2 * chunk @ x[start:].T
        later = np.arange(rows - start) > np.arange(len(chunk))[:, None]
        exponents = np.where(later, -t * np.maximum(distances, 0), -np.inf)
        highest = exponents.max()
        totals.append(highest + np.log(np.exp(exponents - highest).sum()))
    return float(logsumexp(totals) - np.log(rows * (rows - 1) / 2))


def modality_gap(a: Features, b: Features) -> float:
    """|mean_i a_i - mean_i b_i| of embeddings scaled to length one: from 0 to 2.

    References:
        Liang et al. 2022, https://arxiv.org/abs/2203.02053
    """
    if not len(a):
        return float("nan")
    return float(np.linalg.norm(_scaled(a).mean(axis=0) - _scaled(b).mean(axis=0)))


def cka(
    a: Features,
    b: OtherFeatures,
    *,
    kernel: str = "linear",
    debiased: bool = False,
    bandwidth: float = 1.0,
) -> float:
    """HSIC(a, b) / sqrt(HSIC(a, a) HSIC(b, b)): 1 if alike but for rotation and scale.

    HSIC is sum_ij K_ij L_ij of the centred Gram matrices K and L of a and b. The rbf kernel holds
    them: 8 N^2 bytes each.

    Args:
        kernel: "linear" (x . y) or "rbf" (exp(-|x - y|^2 / (2 s^2))).
        debiased: whether HSIC is estimated without bias, so that independent features have 0 on
            average however few the examples; it takes four.
        bandwidth: of the rbf kernel: s over the median distance between different examples.

    Raises:
        ValueError: an unknown kernel.

    References:
        Kornblith et al. 2019, https://arxiv.org/abs/1905.00414;
        Nguyen et al. 2021, https://arxiv.org/abs/2010.15327 (debiased)
    """
    if kernel not in KERNELS:
        raise ValueError(f"kernel is {kernel!r}; there is: {', '.join(KERNELS)}")
    if len(a) < (4 if debiased else 2):
        return float("nan")
    if kernel == "linear":
        x, y, hsic = _centred(a), _centred(b), _hsic_of_features
    else:
        x, y, hsic = _rbf(a, bandwidth), _rbf(b, bandwidth), _hsic_of_grams
    own = hsic(x, x, debiased), hsic(y, y, debiased)
    if not min(own) > 0:
        return float("nan")
    return float(hsic(x, y, debiased) / np.sqrt(own[0]) / np.sqrt(own[1]))


def feature_correlation(a: Features, b: OtherFeatures) -> float:
    """mean_jk |Pearson correlation of a's feature j and b's feature k|, from 0 to 1.

    How much two representations repeat each other. Features that are constant are left out; NaN
    if all are.
    """
    if not len(a):
        return float("nan")
    scaled = []
    for x in (_centred(a), _centred(b)):
        length = np.linalg.norm(x, axis=0)
        scaled.append(x[:, length > 0] / length[length > 0])
    correlations = np.abs(scaled[0].T @ scaled[1])
    return float(correlations.mean()) if correlations.size else float("nan")


def _unit(x: Float[Array, "B E"]) -> Float[Array, "B E"]:
    """Scaled to length one; zeros stay. The largest becomes 1 first: its square is finite."""
    x = x.astype(jnp.float32)
    largest = jnp.max(jnp.abs(x), axis=-1, keepdims=True)
    x = x / jnp.where(largest == 0, 1, largest)
    square = jnp.sum(x**2, axis=-1, keepdims=True)
    return x / jnp.sqrt(jnp.where(square == 0, 1, square))


def _scaled(x: Features) -> Features:
    x = x.astype(np.float64)
    length = np.linalg.norm(x, axis=1, keepdims=True)
    return x / np.where(length == 0, 1, length)


def _centred(x: Features) -> Features:
    """Without the mean of each feature; constant ones are exactly 0."""
    x = x.astype(np.float64)
    centred = x - x.mean(axis=0)
    constant = np.abs(centred).max(axis=0) <= ROUNDING * np.abs(x).max(axis=0)
    return np.where(constant, 0, centred)


def _rbf(x: Features, bandwidth: float) -> Gram:
    from scipy.spatial.distance import pdist, squareform  # slow to import

    squares = pdist(x.astype(np.float64), "sqeuclidean")
    apart = squares[squares > 0]
    scale = 2 * bandwidth**2 * np.median(np.sqrt(apart)) ** 2 if len(apart) else 1.0
    return np.exp(-squareform(squares) / scale)


def _hsic_of_features(x: Features, y: OtherFeatures, debiased: bool) -> float:
    """Of x x^T and y y^T without forming them; x and y are centred."""
    product = np.sum((x.T @ y) ** 2)
    if not debiased:
        return product
    p, q = np.sum(x**2, axis=1), np.sum(y**2, axis=1)
    # Without their diagonals, the Gram matrices of what is centred have row sums of -p and -q.
    return _unbiased(product, p @ q, -p, -q)


def _hsic_of_grams(k: Gram, l: Gram, debiased: bool) -> float:  # noqa: E741
    if not debiased:
        return np.sum(_double_centred(k) * _double_centred(l))
    k, l = (x * (1 - np.eye(len(x))) for x in (k, l))  # noqa: E741
    return _unbiased(np.sum(k * l), 0.0, k.sum(axis=1), l.sum(axis=1))


def _unbiased(product: float, diagonal: float, p: np.ndarray, q: np.ndarray) -> float:
    """N (N - 3) times the unbiased estimate.

    Args:
        product: sum_ij K_ij L_ij.
        diagonal: the part of it with i == j.
        p, q: the row sums of K and L without their diagonals.
    """
    n = len(p)
    between = p.sum() * q.sum() / ((n - 1) * (n - 2))
    terms = np.array([product, -diagonal, between, -2 * (p @ q) / (n - 2)])
    return terms.sum() if abs(terms.sum()) > ROUNDING * np.abs(terms).max() else 0.0


def _double_centred(k: Gram) -> Gram:
    return k - k.mean(axis=0) - k.mean(axis=1, keepdims=True) + k.mean()

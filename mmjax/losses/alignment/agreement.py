"""Losses of how much two modalities agree about each example; rows do not see each other."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from mmjax.nn.layers.unit_length import unit_length


def cosine(a: Float[Array, "B E"], b: Float[Array, "B E"]) -> Float[Array, " B"]:
    """1 - cos(a_i, b_i), in [0, 2]; half the squared distance of the embeddings of length one.

    The zero vector has the cosine 0 with everything, and no gradient.

    References:
        Grill et al. 2020, https://arxiv.org/abs/2006.07733 (twice this)
    """
    return 1 - jnp.sum(unit_length(a) * unit_length(b), axis=1)


def consistency_kl(
    logits_a: Float[Array, "B C"], logits_b: Float[Array, "B C"], *, kind: str = "js"
) -> Float[Array, " B"]:
    """(KL(p || m) + KL(q || m)) / 2 in nats, m = (p + q) / 2, p and q the softmax of the logits.

    Args:
        kind: "js" as above, the Jensen-Shannon divergence, in [0, log 2]; or "kl", the symmetric
            (KL(p || q) + KL(q || p)) / 2, without an upper bound.

    References:
        Lin 1991, https://doi.org/10.1109/18.61115 (js)
        Liang et al. 2021, https://arxiv.org/abs/2106.14448 (kl)
    """
    if kind not in KINDS:
        raise ValueError(f"kind is {kind!r}; there is: {', '.join(sorted(KINDS))}")
    log_p, log_q = (jax.nn.log_softmax(x.astype(jnp.float32)) for x in (logits_a, logits_b))
    return KINDS[kind](log_p, log_q)


def _jensen_shannon(log_p: Array, log_q: Array) -> Array:
    middle = jnp.logaddexp(log_p, log_q) - jnp.log(2.0)
    divergence = optax.losses.kl_divergence_with_log_targets
    return (divergence(middle, log_p) + divergence(middle, log_q)) / 2


def _symmetric(log_p: Array, log_q: Array) -> Array:
    """As one sum, which cannot be negative."""
    return jnp.sum((jnp.exp(log_p) - jnp.exp(log_q)) * (log_p - log_q), axis=1) / 2


KINDS: dict[str, Callable[[Array, Array], Array]] = {"js": _jensen_shannon, "kl": _symmetric}

"""Mixup: vectors between those of two examples."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


def mixup(
    key: jax.Array, x: Float[Array, "B D"], *, mask: Bool[Array, " B"], alpha: float
) -> tuple[Float[Array, "B D"], Int[Array, " B"], Float[Array, " B"]]:
    """lam * x_i + (1 - lam) * x_j, lam = max(u, 1 - u), u ~ Beta(alpha, alpha), j = permutation[i].

    Mixup (Zhang et al. 2018, https://arxiv.org/abs/1710.09412) of vectors inside a network, as in
    manifold mixup (Verma et al. 2019, https://arxiv.org/abs/1806.05236). Unlike in SMOTE, j may be
    of any class, and losses are mixed by the same lambda.

    Args:
        x: vectors.
        mask: which rows are real; the others are not mixed, nor mixed into any.
        alpha: above 0; 1 draws uniformly, less mixes less.

    Returns:
        The mixed vectors, the permutation, and each row's lambda, at least 0.5; 1 where nothing
        is mixed.
    """
    order, draw = jax.random.split(key)
    rows = x.shape[0]
    permutation = jax.random.permutation(order, rows).astype(jnp.int32)
    drawn = jax.random.beta(draw, alpha, alpha, (rows,), jnp.float32)
    lam = jnp.where(mask & mask[permutation], jnp.maximum(drawn, 1 - drawn), 1.0)
    other = jnp.where((lam < 1)[:, None], x[permutation], jnp.zeros((), x.dtype))
    mixed = lam[:, None] * x + (1 - lam)[:, None] * other
    return mixed.astype(x.dtype), permutation, lam

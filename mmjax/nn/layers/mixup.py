"""Mixup: vectors between those of two examples."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


def mixup(
    key: jax.Array, x: Float[Array, "B D"], *, mask: Bool[Array, " B"], alpha: float
) -> tuple[Float[Array, "B D"], Int[Array, " B"], Float[Array, " B"]]:
    """share * x_i + (1 - share) * x_partner, with share = max(u, 1 - u) and u ~ Beta(alpha, alpha).

    Mixup (Zhang et al. 2018, https://arxiv.org/abs/1710.09412) of vectors inside a network, as in
    manifold mixup (Verma et al. 2019, https://arxiv.org/abs/1806.05236). Unlike SMOTE's, partners
    may be of any class, and losses are mixed by the same shares.

    Args:
        x: vectors.
        mask: which rows are real; the others are nobody's partners and are not mixed.
        alpha: above 0; 1 draws uniformly, less mixes less.

    Returns:
        The mixed vectors, the row of each row's partner, and the share of each row's own, at
        least 0.5; 1 where nothing is mixed.
    """
    order, draw = jax.random.split(key)
    rows = x.shape[0]
    partner = jax.random.permutation(order, rows).astype(jnp.int32)
    drawn = jax.random.beta(draw, alpha, alpha, (rows,), jnp.float32)
    share = jnp.where(mask & mask[partner], jnp.maximum(drawn, 1 - drawn), 1.0)
    other = jnp.where((share < 1)[:, None], x[partner], jnp.zeros((), x.dtype))
    mixed = share[:, None] * x + (1 - share)[:, None] * other
    return mixed.astype(x.dtype), partner, share

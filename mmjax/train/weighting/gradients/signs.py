"""An aggregator that picks a sign for each parameter: GradDrop."""

import jax
import jax.numpy as jnp
import optax


def graddrop(*, leak: float = 0.0, seed: int = 0) -> optax.GradientTransformation:
    """GradDrop: of each entry the sum of the gradients of one sign, drawn in proportion.

    The sign is positive with a probability of (1 + sum_i g_i / sum_i |g_i|) / 2. Chen et al. 2020
    (https://arxiv.org/abs/2010.06808), here on gradients of parameters. A gradient of 0 has no say,
    and where all are 0 the update is 0.

    Args:
        leak: share of the gradients of the other sign that is let through.
        seed: of the draws; the key is in the state.

    Raises:
        ValueError: a leak outside 0..1.
    """
    if not 0 <= leak <= 1:
        raise ValueError(f"leak={leak} must be from 0 to 1")

    def picked(x: jax.Array, key: jax.Array) -> jax.Array:
        total, size = x.sum(axis=0), jnp.abs(x).sum(axis=0)
        positive = (1 + total / jnp.where(size == 0, 1.0, size)) / 2
        drawn = jax.random.uniform(key, total.shape, positive.dtype) < positive
        of_sign = jnp.where(drawn, jnp.maximum(x, 0), jnp.minimum(x, 0)).sum(axis=0)
        return leak * total + (1 - leak) * of_sign

    def update(updates, key, params=None):
        del params
        key, drawn = jax.random.split(key)
        leaves, form = jax.tree.flatten(updates)
        keys = jax.random.split(drawn, len(leaves))
        found = [picked(x, k) for x, k in zip(leaves, keys, strict=True)]
        return jax.tree.unflatten(form, found), key

    return optax.GradientTransformation(lambda _: jax.random.PRNGKey(seed), update)

"""Patches of steps."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mmjax.errors import UserError


def fold_steps(
    x: Float[Array, "B T F"], mask: Bool[Array, "B T"], patch: int
) -> tuple[Float[Array, "B N features"], Bool[Array, "B N"]]:
    """Each `patch` steps become one token with patch * F features, real if any of its steps is.

    Masked zeros fill the last patch, so N = ceil(T / patch). With patch=2 the mask
    [[True, True, False, False, True]] becomes [[True, False, True]].

    Raises:
        UserError: a patch of less than one step.
    """
    if patch < 1:
        raise UserError(f"patch: {patch} steps: choose at least one")
    batch, length, features = x.shape
    missing = -length % patch
    x = jnp.pad(x, ((0, 0), (0, missing), (0, 0)))
    mask = jnp.pad(mask, ((0, 0), (0, missing)))
    x = x.reshape(batch, -1, patch * features)
    return x, jnp.any(mask.reshape(batch, -1, patch), axis=2)

"""From raw features to what an encoder of vectors or series computes on."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped

from mmjax.errors import UserError

Constant = float | tuple[float, ...]


def standardise(
    value: Shaped[Array, "*rows F"], mean: Constant, std: Constant
) -> Float[Array, "*rows F"]:
    """(value - mean) / std in float32, where mean and std are numbers or one for each feature.

    Raises:
        UserError: the value is not float32, there are not as many constants as features, or one of
            `std` is not positive.
    """
    if value.dtype != jnp.float32:
        raise UserError(f"features: expected float32, got {value.dtype}: convert them first")
    for name, constant in {"feature_mean": mean, "feature_std": std}.items():
        if isinstance(constant, tuple) and len(constant) != value.shape[-1]:
            raise UserError(
                f"{name}: {len(constant)} numbers for {value.shape[-1]} features: give one for each"
            )
    if np.min(std) <= 0:
        raise UserError(f"feature_std: {std} has to be positive: leave constant features out")
    return (value - jnp.asarray(mean, jnp.float32)) / jnp.asarray(std, jnp.float32)

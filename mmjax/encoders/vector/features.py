"""From raw features to what an encoder of vectors or series computes on."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Shaped

from mmjax.encoders.encoder import Encoder
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


class FeatureEncoder(Encoder, kw_only=True):
    """An encoder of float32 features: vectors [B F] or series [B T F].

    Its `encode` gets them normalised, with zeros where they are missing, and which are there.

    Attributes:
        feature_mean, feature_std: of the data, a number or one for each feature; what the features
            are normalised by.
    """

    feature_mean: Constant = 0.0
    feature_std: Constant = 1.0

    def prepared(
        self, value: Shaped[Array, "B N *F"], mask: Bool[Array, "B N"] | None, _: bool
    ) -> tuple[Float[Array, "B N *F"], Bool[Array, "B N"]]:
        """Features and which of them (of series: which steps) are there.

        Raises:
            UserError: not float32, or constants that do not fit.
        """
        mask = jnp.ones(value.shape[:2], bool) if mask is None else mask
        x = standardise(value, self.feature_mean, self.feature_std)
        there = mask.reshape(*mask.shape, *[1] * (x.ndim - 2))
        return jnp.where(there, x, 0.0), mask

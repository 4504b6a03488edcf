"""Fusions by products of vectors that are smaller than the means."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mmjax.fusion.pooling.projected import Means, ProjectedFusion


class FactoredFusion(ProjectedFusion):
    """A fusion of the factors x_i = activation(P_i mean_i + p_i).

    Attributes:
        factor_width: of x_i.
        activation: of x_i, a name in `mmjax.nn.layers.options.ACTIVATIONS`.
    """

    factor_width: int = 32

    def factors(self, means: Means, mask: Bool[Array, "B M"]) -> dict[str, Float[Array, "B _"]]:
        """x_i of each modality, exact zeros where it is absent."""
        x = self.projected(means, mask, self.factor_width)
        return dict(zip(means, jnp.unstack(x, axis=1), strict=True))

"""Late fusion by weights that each example chooses."""

from collections.abc import Mapping

import flax.linen as nn
import jax.numpy as jnp

from mmjax.errors import UserError
from mmjax.fusion.pooling.projected import (
    JointDense,
    ProjectedFusion,
)
from mmjax.nn.layers.pooling import masked_softmax, weighted_sum
from mmjax.types import Fused, Tokens


class AdaptiveFusion(ProjectedFusion):
    """sum_i w_i h_i with w = softmax(v_i . tanh(W [mean_1; ..; mean_M] + b) / temperature).

    h_i = activation(mean_i @ kernel_i + bias_i). All modalities together decide how much each one
    counts, example by example, as in modality attention (Moon et al. 2018,
    https://arxiv.org/abs/1802.07862). The weights sum to one over the present modalities.

    Attributes:
        width: D of the result and of the vectors v_i. The modalities may have other widths.
        temperature: divides the scores. Near zero, one modality is chosen; large, all count alike.
    """

    temperature: float = 1.0

    def fuse(self, tokens: Mapping[str, Tokens], deterministic: bool) -> Fused:
        """Returns the weighted sum [B D] (zeros with no modality present), and what it sums.

        `tokens` of the result is [B M D] by sorted name, masked where a modality is absent;
        `extras["weights"]` is [B M], zero where a modality is absent.

        Raises:
            UserError: a temperature that is not above zero.
        """
        if self.temperature <= 0:
            raise UserError(
                f"adaptive fusion: temperature {self.temperature} is not above zero:"
                " choose a positive one, such as 1.0"
            )
        means, mask = self.means(tokens, deterministic)
        x = self.projected(means, mask)
        context = jnp.tanh(JointDense(self.width, dtype=self.dtype, name="context")(means))
        init = nn.initializers.normal(self.width**-0.5)
        keys = [self.param(f"score_{name}", init, (self.width,), jnp.float32) for name in means]
        scores = context.astype(jnp.float32) @ jnp.stack(keys, axis=1)
        weights = masked_softmax(scores / self.temperature, mask)
        return Fused(Tokens(x, mask), weighted_sum(weights, x, mask), {"weights": weights})

"""Late fusion by a sum, plain or weighted."""

from collections.abc import Mapping

import flax.linen as nn
import jax.numpy as jnp

from mmjax.fusion.pooling.projected import ProjectedFusion
from mmjax.nn.layers.pooling import masked_softmax, weighted_sum
from mmjax.types import Fused, Tokens


class SumFusion(ProjectedFusion):
    """The sum over the present modalities of activation(mean @ kernel + bias).

    No modality changes what another one says: interactions are left to the layers that follow.
    """

    def fuse(self, tokens: Mapping[str, Tokens], deterministic: bool) -> Fused:
        """Returns the sum [B D] (zeros with no modality present), and its terms as tokens.

        `tokens` of the result is [B M D] by sorted name, masked where a modality is absent.
        """
        means, mask = self.means(tokens, deterministic)
        x = self.projected(means, mask)
        return Fused(Tokens(x, mask), jnp.sum(x, axis=1))


class ConvexFusion(ProjectedFusion):
    """sum_i w_i activation(mean_i @ kernel_i + bias_i), with w = softmax(learned logits).

    The weights are those of the modalities, the same for all examples, and sum to one over the
    present ones: with two modalities, alpha and 1 - alpha. All are equal at initialisation.
    """

    def fuse(self, tokens: Mapping[str, Tokens], deterministic: bool) -> Fused:
        """Returns the combination [B D] (zeros with no modality present), and what it combines.

        `tokens` of the result is [B M D] by sorted name, masked where a modality is absent;
        `extras["weights"]` is [B M], zero where a modality is absent.
        """
        means, mask = self.means(tokens, deterministic)
        x = self.projected(means, mask)
        logits = [
            self.param(f"logit_{name}", nn.initializers.zeros, (), jnp.float32) for name in means
        ]
        weights = masked_softmax(jnp.broadcast_to(jnp.stack(logits), mask.shape), mask)
        return Fused(Tokens(x, mask), weighted_sum(weights, x, mask), {"weights": weights})

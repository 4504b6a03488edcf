"""Late fusion by a sum, plain or weighted."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from mmjax.fusion.pooling.projected import modality_means, project_each
from mmjax.nn.layers.options import activation
from mmjax.nn.layers.pooling import masked_softmax, weighted_sum
from mmjax.types import Fused, Tokens


class SumFusion(nn.Module):
    """The sum over the present modalities of activation(mean @ kernel + bias).

    No modality changes what another one says: interactions are left to the layers that follow.

    Attributes:
        width: D of the result. The modalities may have other widths.
        activation: a name in `mmjax.nn.layers.options.ACTIVATIONS`.
        dropout: share dropped of each modality's mean.
        dtype: type of the computation.
    """

    width: int
    activation: str = "identity"
    dropout: float = 0.0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], *, deterministic: bool = True) -> Fused:
        """Returns the sum [B D] (zeros with no modality present), and its terms as tokens.

        `tokens` of the result is [B M D] by sorted name, masked where a modality is absent.

        Raises:
            UserError: no modality, different batch sizes, or an unknown activation.
        """
        act = activation(self.activation)
        drop = nn.Dropout(self.dropout, deterministic=deterministic)
        means, mask = modality_means(tokens, "sum", drop)
        x = project_each(means, mask, self.width, act, self.dtype)
        return Fused(Tokens(x, mask), jnp.sum(x, axis=1))


class ConvexFusion(nn.Module):
    """sum_i w_i activation(mean_i @ kernel_i + bias_i), with w = softmax(learned logits).

    The weights are those of the modalities, the same for all examples, and sum to one over the
    present ones: with two modalities, alpha and 1 - alpha. All are equal at initialisation.

    Attributes:
        width: D of the result. The modalities may have other widths.
        activation: a name in `mmjax.nn.layers.options.ACTIVATIONS`.
        dropout: share dropped of each modality's mean.
        dtype: type of the computation; the weights are float32.
    """

    width: int
    activation: str = "identity"
    dropout: float = 0.0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], *, deterministic: bool = True) -> Fused:
        """Returns the combination [B D] (zeros with no modality present), and what it combines.

        `tokens` of the result is [B M D] by sorted name, masked where a modality is absent;
        `extras["weights"]` is [B M], zero where a modality is absent.

        Raises:
            UserError: no modality, different batch sizes, or an unknown activation.
        """
        act = activation(self.activation)
        drop = nn.Dropout(self.dropout, deterministic=deterministic)
        means, mask = modality_means(tokens, "convex", drop)
        x = project_each(means, mask, self.width, act, self.dtype)
        logits = [
            self.param(f"logit_{name}", nn.initializers.zeros, (), jnp.float32) for name in means
        ]
        weights = masked_softmax(jnp.broadcast_to(jnp.stack(logits), mask.shape), mask)
        return Fused(Tokens(x, mask), weighted_sum(weights, x, mask), {"weights": weights})

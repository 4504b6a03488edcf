"""Late fusion by an elementwise product."""

from collections.abc import Mapping

import flax.linen as nn
import jax.numpy as jnp

from mmjax.errors import UserError
from mmjax.fusion.bilinear.products import product_of_present
from mmjax.fusion.fusion import Fusion
from mmjax.fusion.pooling.pooled import pool_tokens
from mmjax.nn.layers.dense import Dense
from mmjax.nn.layers.layer_norm import LayerNorm
from mmjax.nn.layers.masking import zero_masked
from mmjax.nn.layers.options import activation
from mmjax.types import Fused, Tokens


class MultiplyFusion(Fusion):
    """The product over the present modalities of activation(norm(mean) @ kernel + bias).

    With two modalities this is low-rank bilinear pooling (Kim et al. 2017,
    https://arxiv.org/abs/1610.04325). An absent modality multiplies by exactly one.

    Attributes:
        width: D of the result.
        project: whether each modality has a dense layer and activation of its own before the
            product. Without, the means are multiplied as they are, and all have the width D.
        norm: whether each mean passes a layer norm before its dense layer; used if `project`.
        activation: a name in `mmjax.nn.layers.options.ACTIVATIONS`; used if `project`.
    """

    project: bool = True
    norm: bool = True
    activation: str = "tanh"

    def fuse(self, tokens: Mapping[str, Tokens], deterministic: bool) -> Fused:
        """Returns the product [B D] (zeros with no modality present), and its factors as tokens.

        `tokens` of the result is [B M D] by sorted name, masked where a modality is absent.

        Raises:
            UserError: `project` is False and a modality has another width.
        """
        act = activation(self.activation)
        factors, presence = [], []
        for name in tokens:
            mean, present = pool_tokens(tokens[name])
            factor = nn.Dropout(self.dropout, deterministic=deterministic)(mean.astype(self.dtype))
            if self.project:
                if self.norm:
                    norm = LayerNorm(name=f"norm_{name}")
                    factor = norm(factor).astype(self.dtype)
                factor = act(Dense(self.width, dtype=self.dtype, name=f"project_{name}")(factor))
            elif factor.shape[-1] != self.width:
                raise UserError(
                    f"multiply fusion: {name!r} has width {factor.shape[-1]}, the fusion"
                    f" {self.width}: make them equal or set project=True"
                )
            factors.append(factor)
            presence.append(present)
        mask = jnp.stack(presence, axis=1)
        x = zero_masked(jnp.stack(factors, axis=1), mask)
        product = product_of_present(jnp.unstack(x, axis=1), mask)
        return Fused(Tokens(x, mask), zero_masked(product, jnp.any(mask, axis=1)))

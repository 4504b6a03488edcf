"""Early fusion: one sequence from the first joint layer on, without attention."""

from collections.abc import Callable, Mapping

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array

from mmjax.fusion.fusion import Fusion
from mmjax.nn.layers.dense import Dense
from mmjax.nn.layers.masking import zero_masked
from mmjax.nn.layers.options import activation, choose
from mmjax.nn.layers.pooling import masked_max, masked_mean
from mmjax.types import Fused, Tokens

POOLS: Mapping[str, Callable[[Array, Array], Array]] = {"max": masked_max, "mean": masked_mean}


class EarlyConcatFusion(Fusion):
    """Deep-set layers over the concatenated tokens of all modalities.

    Early: the modalities are joined before any is summarised. Their projected tokens, each with an
    embedding of its modality's name, are one set, and from the first layer on every token is
    combined with the whole set (Zaheer et al. 2017, https://arxiv.org/abs/1703.06114):

        x_n <- activation(x_n W + pool(x) V + b)

    with the same W, V and b for all tokens. The cost is linear in the number of tokens. Late
    concatenation (ConcatFusion) summarises each modality by itself and joins the summaries. Every
    token counts alike, so with "mean" a long modality weighs more than a short one.

    Attributes:
        layers: number of layers.
        pool: "mean" or "max" over the real tokens of all modalities.
        activation: a name in `mmjax.nn.layers.options.ACTIVATIONS`.
        dropout: share dropped of what enters each layer.
    """

    layers: int = 2
    pool: str = "mean"
    activation: str = "gelu"

    def fuse(self, tokens: Mapping[str, Tokens], deterministic: bool) -> Fused:
        """Returns the pooled tokens [B D] (zeros with no modality present), and all tokens.

        `tokens` of the result is [B N D], the modalities one after the other by sorted name.
        """
        act, pool = activation(self.activation), choose(POOLS, self.pool, "pool")
        parts, masks = [], []
        for name in tokens:
            x = zero_masked(tokens[name].x, tokens[name].mask)
            x = Dense(self.width, use_bias=False, dtype=self.dtype, name=f"project_{name}")(x)
            init = nn.initializers.normal(0.02)
            modality = self.param(f"modality_{name}", init, (self.width,), jnp.float32)
            parts.append(x + modality.astype(x.dtype))
            masks.append(tokens[name].mask)
        x, mask = jnp.concatenate(parts, axis=1), jnp.concatenate(masks, axis=1)
        for layer in range(self.layers):
            x = nn.Dropout(self.dropout, deterministic=deterministic)(x)
            own = Dense(self.width, dtype=self.dtype, name=f"token_{layer}")(x)
            shared = Dense(self.width, False, self.dtype, name=f"set_{layer}")(pool(x, mask))
            x = act(own + shared[:, None])
        return Fused(Tokens(zero_masked(x, mask), mask), pool(x, mask))

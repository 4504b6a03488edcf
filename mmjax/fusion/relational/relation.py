"""Fusion by relations between pairs of objects."""

from collections.abc import Mapping

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mmjax.fusion.attention.sequences import embed_tokens, join_tokens
from mmjax.fusion.fusion import Fusion
from mmjax.fusion.pooling.projected import modality_means, project_each
from mmjax.nn.layers.dense import Dense
from mmjax.nn.layers.masking import zero_masked
from mmjax.nn.layers.options import activation, choose
from mmjax.types import Fused, Tokens

LEVELS = {"modality": False, "token": True}
REDUCTIONS = {"mean": True, "sum": False}


class RelationFusion(Fusion):
    """Relation network: what an mlp says of every pair of objects, summed (Santoro et al. 2017,
    https://arxiv.org/abs/1706.01427).

    f(sum over all pairs i, j of real objects, also i = j, of g([o_i; o_j])), f and g mlps.

    Objects are the tokens of all modalities, or the means of the modalities. The first layer of g
    is split into a part of o_i and one of o_j, which are added, so no pair is concatenated. Still
    the other layers of g see every pair: B N N numbers of `width` each, and N N width^2
    multiplications an example and layer. With many more than a hundred tokens in all, let the
    encoders pool theirs, or use the level "modality". Absent modalities have no objects.

    Attributes:
        width: D of the result, and of the hidden layers. The modalities may have other widths.
        level: "token", with an embedding of the modality and learned positions, or "modality".
        reduction: of the pairs, "sum" as in the paper, or "mean", which does not grow with N, but
            in which the few pairs that matter are lost among N * N (experiments/fusion).
        pair_layers: layers of g, each followed by the activation; the paper has 4.
        output_layers: layers of f, of which all but the last are followed by the activation.
        activation: a name in `mmjax.nn.layers.options.ACTIVATIONS`.
        dropout: share dropped of what enters each layer of f, and of the modalities' means.
    """

    level: str = "token"
    reduction: str = "sum"
    pair_layers: int = 2
    output_layers: int = 2
    activation: str = "relu"

    def fuse(self, tokens: Mapping[str, Tokens], deterministic: bool) -> Fused:
        """Returns f [B D] of all relations, and the relations of each object as tokens.

        `tokens` of the result is [B N D], in the order of the modalities' sorted names: the mean
        (or sum) over j of g([o_i; o_j]), zero where masked. With no modality present, `pooled` is
        f of zeros.
        """
        drop = nn.Dropout(self.dropout, deterministic=deterministic)
        act = activation(self.activation)
        if choose(LEVELS, self.level, "level"):
            x, mask = join_tokens(
                Tokens(
                    embed_tokens(self, name, tokens[name], self.width, self.dtype),
                    tokens[name].mask,
                )
                for name in tokens
            )
        else:
            means, mask = modality_means(tokens, drop)
            x = project_each(means, mask, self.width, activation("identity"), self.dtype)
        pairs = act(self._first_layer(x))
        for layer in range(1, self.pair_layers):
            pairs = act(Dense(self.width, dtype=self.dtype, name=f"pair_{layer}")(pairs))
        both = mask[:, :, None] & mask[:, None, :]
        relations = self._reduce(zero_masked(pairs, both), mask)
        y = self._reduce(relations, mask)
        for layer in range(self.output_layers):
            y = act(y) if layer else y
            y = Dense(self.width, dtype=self.dtype, name=f"output_{layer}")(drop(y))
        return Fused(Tokens(relations.astype(self.dtype), mask), y.astype(self.dtype))

    def _first_layer(self, x: Float[Array, "B N D"]) -> Float[Array, "B N N D"]:
        # As a part of one kernel over both objects.
        init = nn.initializers.variance_scaling(0.5, "fan_in", "truncated_normal")
        parts = Dense(2 * self.width, False, self.dtype, init, name="pair_0")(x)
        one, other = jnp.split(parts, 2, axis=-1)
        bias = self.param("pair_0_bias", nn.initializers.zeros, (self.width,), jnp.float32)
        return (one + bias.astype(one.dtype))[:, :, None] + other[:, None]

    def _reduce(
        self, x: Float[Array, "B *rows N D"], mask: Bool[Array, "B N"]
    ) -> Float[Array, "B *rows D"]:
        total = jnp.sum(x, axis=-2, dtype=jnp.float32)
        if not choose(REDUCTIONS, self.reduction, "reduction"):
            return total
        count = jnp.maximum(jnp.sum(mask, axis=1, dtype=jnp.float32), 1.0)
        return total / count.reshape(-1, *[1] * (total.ndim - 1))

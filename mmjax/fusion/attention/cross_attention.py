"""Fusion by one modality that queries the others."""

from collections.abc import Mapping

import flax.linen as nn
import jax.numpy as jnp

from mmjax.errors import UserError
from mmjax.fusion.attention.sequences import (
    POOLS,
    ReadingLayer,
    SequenceFusion,
    join_tokens,
)
from mmjax.nn.layers.layer_norm import LayerNorm
from mmjax.nn.layers.masking import zero_masked
from mmjax.nn.layers.options import choose
from mmjax.nn.layers.transformer import NORM_PLACES
from mmjax.types import Fused, Tokens

STAND_IN = "stand_in_"


class CrossAttentionFusion(SequenceFusion):
    """The tokens of one modality read those of all others, in layers of cross-attention and mlp.

    The others are one sequence, which no layer changes: the cost is linear in their length. See
    the decoder of Vaswani et al. 2017, https://arxiv.org/abs/1706.03762, and with `self_attention`
    the multimodal encoder of ALBEF, Li et al. 2021, https://arxiv.org/abs/2107.07651. Inputs get an
    embedding of the modality's name and learned positions, sized at initialisation.

    Where the querying modality is absent, one learned token queries in its place. Where no other
    is present, the query's tokens keep what they hold.

    Attributes:
        query: the name of the modality that queries. None: the first by sorted name among those of
            the initialisation.
        layers: number of layers.
        self_attention: whether each layer ends with a block of self-attention among the query's
            tokens.
        norm: "pre" or "post".
        pool: "first", "last" or "mean" of the query's real tokens.
    """

    query: str | None = None
    self_attention: bool = False
    norm: str = "pre"
    pool: str = "mean"

    def fuse(self, tokens: Mapping[str, Tokens], deterministic: bool) -> Fused:
        """Returns the pooled query [B D], and its tokens [B 1+N D] after the token that stands in.

        The one that stands in is real where the querying modality is absent, and only there.

        Raises:
            UserError: no modality of the name `query` at initialisation.
        """
        query = self._find_query(tuple(tokens))
        pool = choose(POOLS, self.pool, "pool")
        sequences = self.streams(tokens, deterministic)
        x, mask = self._stand_in(query, sequences)
        others = [sequences[name] for name in tokens if name != query]
        context = join_tokens(others) if others else None
        options = self.block_options | {"norm": self.norm}
        for layer in range(self.layers):
            reader = ReadingLayer(
                **options, self_attention=self.self_attention, name=f"layer_{layer}"
            )
            x = reader(x, mask, context, deterministic=deterministic)
        if choose(NORM_PLACES, self.norm, "norm"):
            x = LayerNorm(name="norm")(x).astype(self.dtype)
        return Fused(Tokens(zero_masked(x, mask), mask), pool(x, mask))

    def _find_query(self, names: tuple[str, ...]) -> str:
        made = [name for name in self.variables.get("params", {}) if name.startswith(STAND_IN)]
        query = self.query
        if query is None:
            # With fewer modalities than at initialisation, it still queries by the same one.
            query = made[0].removeprefix(STAND_IN) if made else names[0]
        if not made and query not in names:
            raise UserError(
                f"cross_attention fusion: no modality {query!r} to query by: choose one of"
                f" {', '.join(names)}"
            )
        return query

    def _stand_in(self, query: str, sequences: Mapping[str, Tokens]) -> Tokens:
        init = nn.initializers.normal(0.02)
        learned = self.param(f"{STAND_IN}{query}", init, (self.width,), jnp.float32)
        batch = next(iter(sequences.values())).x.shape[0]
        x = jnp.broadcast_to(learned.astype(self.dtype), (batch, 1, self.width))
        if query not in sequences:
            return Tokens(x, jnp.ones((batch, 1), bool))
        absent = ~jnp.any(sequences[query].mask, axis=1, keepdims=True)
        return join_tokens([Tokens(x, absent), sequences[query]])

"""Fusion by a transformer stream for each modality, with co-attention between the streams."""

from collections.abc import Callable, Mapping

import jax.numpy as jnp
from jaxtyping import Array

from mmjax.fusion.attention.sequences import (
    POOLS,
    ReadingLayer,
    SequenceFusion,
    join_tokens,
)
from mmjax.fusion.bilinear.products import product_of_present
from mmjax.nn.layers.layer_norm import LayerNorm
from mmjax.nn.layers.masking import zero_masked
from mmjax.nn.layers.options import choose
from mmjax.nn.layers.pooling import masked_mean
from mmjax.nn.layers.transformer import NORM_PLACES
from mmjax.types import Fused, Tokens


def multiply(x: Array, mask: Array) -> Array:
    """The product over the present vectors of [B M D]; exact zeros where none is present."""
    return zero_masked(product_of_present(jnp.unstack(x, axis=1), mask), jnp.any(mask, axis=1))


JOINS: Mapping[str, Callable[[Array, Array], Array]] = {
    "mean": masked_mean,
    "multiply": multiply,
}


class CoAttentionalTransformerFusion(SequenceFusion):
    """A transformer for each modality, whose layers first read the others, then themselves.

    In each layer every stream queries the tokens of all other modalities as they left the layer
    before, then passes a block of self-attention (ViLBERT, Lu et al. 2019,
    https://arxiv.org/abs/1908.02265, where there are two streams). Where none of the others is
    present, a stream has its self-attention alone. Inputs get an embedding of the modality's name
    and learned positions, sized at initialisation.

    Attributes:
        layers: number of pairs of blocks in each stream.
        norm: "pre", or "post" as in the paper.
        pool: the vector of a stream: "first" (as in the paper, whose first tokens summarise),
            "last" or "mean" of its real tokens.
        join: "multiply" (as in the paper) or "mean", over the vectors of the present modalities.
    """

    norm: str = "pre"
    pool: str = "mean"
    join: str = "multiply"

    def fuse(self, tokens: Mapping[str, Tokens], deterministic: bool) -> Fused:
        """Returns the joined vectors [B D] (zeros with no modality present), and all tokens.

        `tokens` of the result are those of the streams, by sorted name.
        """
        pool, join = choose(POOLS, self.pool, "pool"), choose(JOINS, self.join, "join")
        streams = self.streams(tokens, deterministic)
        options = self.block_options | {"norm": self.norm}
        for layer in range(self.layers):
            before = streams
            for name, (x, mask) in before.items():
                others = [before[other] for other in tokens if other != name]
                x = ReadingLayer(**options, name=f"layer_{layer}_{name}")(
                    x, mask, join_tokens(others) if others else None, deterministic=deterministic
                )
                streams = streams | {name: Tokens(x, mask)}
        if choose(NORM_PLACES, self.norm, "norm"):
            streams = {
                name: Tokens(LayerNorm(name=f"norm_{name}")(x), mask)
                for name, (x, mask) in streams.items()
            }
        vectors = jnp.stack([pool(x, mask) for x, mask in streams.values()], axis=1)
        present = jnp.stack([jnp.any(mask, axis=1) for _, mask in streams.values()], axis=1)
        x, mask = join_tokens(streams.values())
        return Fused(
            Tokens(zero_masked(x, mask).astype(self.dtype), mask),
            join(vectors, present).astype(self.dtype),
        )

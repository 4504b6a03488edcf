"""What the fusions of one vector per modality have in common."""

from collections.abc import Mapping

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mmjax.errors import UserError
from mmjax.nn.layers.pooling import masked_mean
from mmjax.types import Tokens


def check_modalities(tokens: Mapping[str, Tokens], fusion: str) -> tuple[str, ...]:
    """The names of the modalities, sorted: the order of the mapping must not matter.

    Raises:
        UserError: there is no modality, or their batches differ.
    """
    if not tokens:
        raise UserError(f"{fusion} fusion: no modality given: give at least one")
    sizes = {name: tokens[name].x.shape[0] for name in sorted(tokens)}
    if len(set(sizes.values())) > 1:
        raise UserError(
            f"{fusion} fusion: modalities of different batch sizes {sizes}: give an index to those"
            " that have fewer rows than examples"
        )
    return tuple(sizes)


def pool_tokens(tokens: Tokens) -> tuple[Float[Array, "B D"], Bool[Array, " B"]]:
    """The mean of the real tokens (zeros if there is none), and whether there is one."""
    return masked_mean(tokens.x, tokens.mask), jnp.any(tokens.mask, axis=1)

"""What every fusion has: its width, dropout and type, and the check of what it is given."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from mmjax.fusion.pooling.pooled import check_modalities
from mmjax.types import Fused, Tokens


class Fusion(nn.Module, kw_only=True):
    """Tokens by modality -> Fused.

    A subclass has the method `fuse` of (tokens by sorted name, deterministic) -> Fused.

    Attributes:
        width: D of the result. A modality may have another width, and is projected to it.
        dropout: share dropped in training of each modality's mean, or of what enters the blocks and
            of what each of their branches adds.
        dtype: type of the computation; norms, softmax and sigmoids are in float32.
    """

    width: int = dataclasses.field(kw_only=False)
    dropout: float = 0.0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], *, deterministic: bool = True) -> Fused:
        """The fused vector [B D] and tokens; see `fuse`.

        Raises:
            UserError: no modality, different batch sizes, an unknown word, or what `fuse` raises.
        """
        names = check_modalities(tokens, type(self).__name__.removesuffix("Fusion").lower())
        return self.fuse({name: tokens[name] for name in names}, deterministic)

"""Heads: from what a fusion returns to the outputs of one task."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from mmjax.nn.dense import Dense
from mmjax.nn.options import activation
from mmjax.types import Fused


class ClassificationHead(nn.Module):
    """Dense layers over the fused vector -> logits.

    Attributes:
        classes: C, number of classes.
        hidden: widths of the hidden layers.
        activation: activation of the hidden layers.
        dropout: share dropped of what enters each dense layer.
        dtype: type of the computation; the logits are float32.
    """

    classes: int
    hidden: tuple[int, ...] = ()
    activation: str = "gelu"
    dropout: float = 0.0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, fused: Fused, *, deterministic: bool = True) -> Float[Array, "B C"]:
        """Logits [B C], float32; raises UserError for an unknown activation."""
        act = activation(self.activation)
        x = fused.pooled
        for layer, width in enumerate(self.hidden):
            x = nn.Dropout(self.dropout, deterministic=deterministic)(x)
            x = act(Dense(width, dtype=self.dtype, name=f"hidden_{layer}")(x))
        x = nn.Dropout(self.dropout, deterministic=deterministic)(x)
        return Dense(self.classes, dtype=self.dtype, name="logits")(x).astype(jnp.float32)

"""Heads: from what a fusion returns to the outputs of one task."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from mmjax.nn.dense import Dense
from mmjax.nn.options import activation, initialiser
from mmjax.types import Fused


class ClassificationHead(nn.Module):
    """Dense layers over the fused vector -> logits.

    Attributes:
        classes: C, number of classes.
        hidden: widths of the hidden layers.
        activation: activation of the hidden layers.
        kernel_init: initialiser of all kernels, a name in `mmjax.nn.options.INITIALISERS`.
        dropout: share dropped of what enters each dense layer.
        dtype: type of the computation; the logits are float32.
    """

    classes: int
    hidden: tuple[int, ...] = ()
    activation: str = "gelu"
    kernel_init: str = "lecun_normal"
    dropout: float = 0.0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, fused: Fused, *, deterministic: bool = True) -> Float[Array, "B C"]:
        """Logits [B C], float32; raises UserError for an unknown activation."""
        act, init = activation(self.activation), initialiser(self.kernel_init)
        x = fused.pooled
        for layer, width in enumerate(self.hidden):
            x = nn.Dropout(self.dropout, deterministic=deterministic)(x)
            dense = Dense(width, dtype=self.dtype, kernel_init=init, name=f"hidden_{layer}")
            x = act(dense(x))
        x = nn.Dropout(self.dropout, deterministic=deterministic)(x)
        logits = Dense(self.classes, dtype=self.dtype, kernel_init=init, name="logits")
        return logits(x).astype(jnp.float32)

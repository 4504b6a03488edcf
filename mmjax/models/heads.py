"""Heads: from what a fusion or an encoder returns to the outputs of one task."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from mmjax.nn.layers.dense import Dense
from mmjax.nn.layers.options import activation, initialiser
from mmjax.types import Fused


class ClassificationHead(nn.Module):
    """Dense layers over the fused vector -> logits.

    Attributes:
        classes: C, number of classes.
        hidden: widths of the hidden layers.
        activation: activation of the hidden layers.
        kernel_init: initialiser of all kernels, a name in `mmjax.nn.layers.options.INITIALISERS`.
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


class RegressionHead(nn.Module):
    """Dense layers over the fused vector -> a number.

    Attributes:
        hidden, activation, kernel_init, dropout, dtype: as of ClassificationHead.
    """

    hidden: tuple[int, ...] = ()
    activation: str = "gelu"
    kernel_init: str = "lecun_normal"
    dropout: float = 0.0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, fused: Fused, *, deterministic: bool = True) -> Float[Array, " B"]:
        """Numbers [B], float32; raises UserError for an unknown activation."""
        options = (self.hidden, self.activation, self.kernel_init, self.dropout, self.dtype)
        dense = ClassificationHead(1, *options, name="dense")
        return dense(fused, deterministic=deterministic)[:, 0]


class Projection(nn.Module):
    """Dense layers: the mean of a modality's tokens -> the common space.

    Attributes:
        embedding: E, the width of the common space.
        hidden: widths of the hidden layers; () projects linearly.
        activation: of the hidden layers.
        dtype: type of the computation.
    """

    embedding: int
    hidden: tuple[int, ...] = ()
    activation: str = "gelu"
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B D"]) -> Float[Array, "B E"]:
        """Returns float32; raises UserError for an unknown activation."""
        act = activation(self.activation)
        for layer, width in enumerate(self.hidden):
            x = act(Dense(width, dtype=self.dtype, name=f"hidden_{layer}")(x))
        return Dense(self.embedding, dtype=self.dtype, name="embedding")(x).astype(jnp.float32)

"""Heads: from what a fusion or an encoder returns to the outputs of one task."""

import dataclasses
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from mmjax.nn.layers.dense import Dense
from mmjax.nn.layers.options import activation, initialiser, shared
from mmjax.types import Fused


class DenseHead(nn.Module, kw_only=True):
    """Dense layers over the fused vector.

    Attributes:
        hidden: widths of the hidden layers.
        activation: activation of the hidden layers.
        kernel_init: initialiser of all kernels, a name in `mmjax.nn.layers.options.INITIALISERS`.
        dropout: share dropped of what enters each dense layer.
        dtype: type of the computation; what comes out is float32.
    """

    hidden: tuple[int, ...] = ()
    activation: str = "gelu"
    kernel_init: str = "lecun_normal"
    dropout: float = 0.0
    dtype: Any = jnp.float32


class ClassificationHead(DenseHead):
    """The fused vector -> logits.

    Attributes:
        classes: C, number of classes.
    """

    classes: int = dataclasses.field(kw_only=False)

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


class RegressionHead(DenseHead):
    """The fused vector -> a number."""

    @nn.compact
    def __call__(self, fused: Fused, *, deterministic: bool = True) -> Float[Array, " B"]:
        """Numbers [B], float32; raises UserError for an unknown activation."""
        dense = ClassificationHead(1, **shared(self, DenseHead), name="dense")
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

"""What backbones share: their outputs, their masks, their stack of blocks."""

import dataclasses
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Shaped

from mmjax.errors import UserError
from mmjax.nn.layers.options import shared
from mmjax.nn.layers.transformer import Transformer


class Features(NamedTuple):
    """tokens: [B N D]. pooled: one vector of each example, [B E]; None: there is none. states: the
    tokens before the first layer and after each, without a norm that follows the last. mask: which
    tokens are real, [B N]; None: all are."""

    tokens: Array
    pooled: Array | None
    states: tuple[Array, ...]
    mask: Array | None = None

    def named(self, output_hidden_states: bool) -> dict[str, Any]:
        """By the names of transformers; the hidden states only if they are wanted."""
        found = {"last_hidden_state": self.tokens, "pooler_output": self.pooled}
        found |= {"hidden_states": self.states if output_hidden_states else None}
        return {name: value for name, value in found.items() if value is not None}


class TransformerBackbone(nn.Module, kw_only=True):
    """A backbone that is a transformer over tokens which it makes.

    Attributes:
        width: D.
        layers, heads, mlp_ratio, mlp_width, activation, epsilon, qkv_bias, remat, scan: of the
            transformer (see `mmjax.nn.layers.transformer.Transformer`).
        dropout: share dropped in training, of the input and in the blocks.
        dtype: type of the computation; norms, softmax and logits are in float32.
    """

    width: int = dataclasses.field(kw_only=False)
    layers: int
    heads: int
    mlp_ratio: float | int = 4
    mlp_width: int | None = None
    activation: str = "gelu_exact"
    epsilon: float = 1e-5
    qkv_bias: bool = True
    dropout: float = 0.0
    remat: bool = False
    scan: bool = False
    dtype: Any = jnp.float32

    def blocks(self, name: str | None = "transformer", **options: Any) -> Transformer:
        """The transformer, of the options of the backbone and these."""
        return Transformer(**shared(self, Transformer) | options, name=name)


def as_mask(attention_mask: Shaped[Array, "B N"] | None) -> Bool[Array, "B N"] | None:
    """1 for a real token, as PyTorch libraries have it -> True."""
    return None if attention_mask is None else attention_mask != 0


def check_heads(architecture: str, width: int, heads: int) -> None:
    """Raises UserError if a width does not split into its heads."""
    if heads < 1 or width % heads:
        raise UserError(
            f"{architecture}: a width of {width} does not split into {heads} heads: config.json"
            " does not describe this model"
        )

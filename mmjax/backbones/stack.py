"""The blocks of a published transformer, and what they give on the way."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Shaped

from mmjax.errors import UserError
from mmjax.nn.layers.transformer import Block


class Stack(nn.Module):
    """Blocks one after the other; parameters block_0, block_1, ...

    Attributes:
        layers, heads: number of blocks and of attention heads.
        mlp_width, activation, epsilon, norm, causal, qkv_bias, layer_scale, gated, dropout,
            dtype: as of `mmjax.nn.layers.transformer.Block`.
        scanned: whether the parameters of all blocks are stacked in those of one, called block,
            along a first axis of layers.
    """

    layers: int
    heads: int
    mlp_width: int
    activation: str = "gelu_exact"
    epsilon: float = 1e-6
    norm: str = "pre"
    causal: bool = False
    qkv_bias: bool = True
    layer_scale: float | None = None
    gated: bool = False
    dropout: float = 0.0
    dtype: Any = jnp.float32
    scanned: bool = False

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "B N D"],
        mask: Bool[Array, "B N"] | None = None,
        *,
        angles: Float[Array, "N k"] | None = None,
        deterministic: bool = True,
    ) -> tuple[Float[Array, "B N D"], ...]:
        """The tokens before the first block and after each; masked ones are read by none."""
        x = nn.Dropout(self.dropout, deterministic=deterministic)(x)
        x = x.astype(self.dtype)

        def run(block, x, mask, angles):
            y = block(x, mask, angles=angles, deterministic=deterministic)
            return y, y

        if self.scanned:
            scan = nn.scan(
                run,
                variable_axes={"params": 0},
                split_rngs={"params": True, "dropout": True},
                in_axes=(nn.broadcast, nn.broadcast),
                length=self.layers,
            )
            _, found = scan(self._block("block"), x, mask, angles)
            return (x, *(found[layer] for layer in range(self.layers)))
        states = [x]
        for layer in range(self.layers):
            states.append(run(self._block(f"block_{layer}"), states[-1], mask, angles)[0])
        return tuple(states)

    def _block(self, name: str) -> Block:
        return Block(
            self.heads,
            dropout=self.dropout,
            dtype=self.dtype,
            norm=self.norm,
            activation=self.activation,
            causal=self.causal,
            epsilon=self.epsilon,
            layer_scale=self.layer_scale,
            mlp_width=self.mlp_width,
            gated=self.gated,
            qkv_bias=self.qkv_bias,
            name=name,
        )


def as_mask(attention_mask: Shaped[Array, "B N"] | None) -> Bool[Array, "B N"] | None:
    """1 for a real token, as PyTorch libraries have it -> True."""
    return None if attention_mask is None else attention_mask != 0


def with_states(outputs: Mapping[str, Any], states: tuple, wanted: bool) -> dict[str, Any]:
    """The outputs, and the hidden states if they are wanted."""
    return {**outputs, "hidden_states": states} if wanted else dict(outputs)


def check_heads(family: str, width: int, heads: int) -> None:
    """Raises UserError if a width does not split into its heads."""
    if heads < 1 or width % heads:
        raise UserError(
            f"{family}: a width of {width} does not split into {heads} heads: config.json does not"
            " describe this model"
        )

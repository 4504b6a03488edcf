"""The model of tasks that write: encoders -> a sequence of tokens -> characters for each."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from mmjax.models.fused import encode, encoder_outputs
from mmjax.nn.layers.dense import Dense
from mmjax.types import Input, Tokens


class CharacterHead(nn.Module):
    """A dense layer over each token -> logits of characters.

    Attributes:
        classes: V, number of characters, the blank among them.
        dropout: share dropped of what enters the layer.
        dtype: type of the computation; the logits are float32.
    """

    classes: int
    dropout: float = 0.0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, tokens: Tokens, *, deterministic: bool = True) -> Float[Array, "B N V"]:
        """Logits [B N V], float32."""
        x = nn.Dropout(self.dropout, deterministic=deterministic)(tokens.x)
        return Dense(self.classes, dtype=self.dtype, name="logits")(x).astype(jnp.float32)


class Transcriber(nn.Module):
    """Encoders, perhaps a fusion that keeps a sequence, and a head over each of its tokens.

    Attributes:
        encoders: by modality: (value, mask, *, deterministic) -> Tokens; one without a fusion.
        head: (tokens, *, deterministic) -> logits [B N V].
        fusion: (tokens by modality, *, deterministic) -> Fused, whose tokens are in the order of
            what is to be written. None: the encoder's tokens are.
    """

    encoders: Mapping[str, nn.Module]
    head: nn.Module
    fusion: nn.Module | None = None

    @nn.compact
    def __call__(
        self, inputs: Mapping[str, Input], *, deterministic: bool = True
    ) -> dict[str, Shaped[Array, "B ..."]]:
        """Logits, and by the way to them what losses may read.

            characters: float32 [B N V]; characters_mask: [B N], which tokens are real
            encoder/NAME: [B D], the mean of a modality's tokens; encoder/NAME_mask: [B]

        Raises:
            UserError: an input that no encoder takes, none at all, or what the parts raise.
        """
        tokens = encode(self.encoders, inputs, deterministic=deterministic)
        if self.fusion is None:
            (sequence,) = tokens.values()
        else:
            sequence = self.fusion(tokens, deterministic=deterministic).tokens
        logits = self.head(sequence, deterministic=deterministic)
        found = {"characters": logits, "characters_mask": sequence.mask}
        return found | encoder_outputs(tokens)

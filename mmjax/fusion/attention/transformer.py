"""Single-stream fusion: one transformer over the tokens of all modalities."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from mmjax.fusion.attention.sequences import embed_tokens, join_tokens
from mmjax.fusion.pooling.pooled import check_modalities
from mmjax.nn.layers.masking import zero_masked
from mmjax.nn.layers.transformer import Transformer
from mmjax.types import Fused, Tokens


class TransformerFusion(nn.Module):
    """Self-attention over [fusion tokens; tokens of each modality, by sorted name].

    Each modality's tokens get an embedding of its name and learned positions, sized at
    initialisation (a shorter sequence uses the first ones). See UNITER, Chen et al. 2020,
    https://arxiv.org/abs/1909.11740.

    Attributes:
        width: D of the result. A modality of another width is projected to it.
        layers, heads, mlp_ratio, dropout: of the transformer.
        fusion_tokens: number of learned tokens that gather from all modalities.
        dtype: type of the computation; norms and softmax are in float32.
    """

    width: int
    layers: int = 2
    heads: int = 4
    mlp_ratio: float | int = 4
    fusion_tokens: int = 1
    dropout: float = 0.0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], *, deterministic: bool = True) -> Fused:
        """Returns the mean of the fusion tokens [B D] after the last norm, and all tokens.

        `tokens` of the result is in the order of the class docstring, zero where masked. The
        fusion tokens are always real, so a row with no modality present attends to them alone.

        Raises:
            UserError: no modality, different batch sizes, or a longer sequence than at
                initialisation.
        """
        names = check_modalities(tokens, "transformer")
        batch = tokens[names[0]].x.shape[0]
        init = nn.initializers.normal(0.02)
        learned = self.param("fusion_tokens", init, (self.fusion_tokens, self.width), jnp.float32)
        shape = (batch, self.fusion_tokens, self.width)
        learned = jnp.broadcast_to(learned.astype(self.dtype), shape)
        parts = [Tokens(learned, jnp.ones(shape[:2], bool))]
        for name in names:
            x = embed_tokens(self, name, tokens[name], self.width, self.dtype)
            parts.append(Tokens(x, tokens[name].mask))
        x, mask = join_tokens(parts)
        x = nn.Dropout(self.dropout, deterministic=deterministic)(x)
        x = Transformer(
            self.layers, self.heads, self.mlp_ratio, self.dropout, self.dtype, name="transformer"
        )(x, mask, deterministic=deterministic)
        pooled = jnp.mean(x[:, : self.fusion_tokens], axis=1, dtype=jnp.float32)
        return Fused(Tokens(zero_masked(x, mask), mask), pooled.astype(self.dtype))

"""Single-stream fusion: one transformer over the tokens of all modalities."""

from collections.abc import Mapping

import flax.linen as nn
import jax.numpy as jnp

from mmjax.fusion.attention.sequences import SequenceFusion, join_tokens
from mmjax.nn.layers.masking import zero_masked
from mmjax.nn.layers.transformer import Transformer
from mmjax.types import Fused, Tokens


class TransformerFusion(SequenceFusion):
    """Self-attention over [fusion tokens; tokens of each modality, by sorted name].

    Each modality's tokens get an embedding of its name and learned positions, sized at
    initialisation (a shorter sequence uses the first ones). See UNITER, Chen et al. 2020,
    https://arxiv.org/abs/1909.11740.

    Attributes:
        fusion_tokens: number of learned tokens that gather from all modalities.
    """

    fusion_tokens: int = 1

    def fuse(self, tokens: Mapping[str, Tokens], deterministic: bool) -> Fused:
        """Returns the mean of the fusion tokens [B D] after the last norm, and all tokens.

        `tokens` of the result is in the order of the class docstring, zero where masked. The
        fusion tokens are always real, so a row with no modality present attends to them alone.
        """
        batch = next(iter(tokens.values())).x.shape[0]
        init = nn.initializers.normal(0.02)
        learned = self.param("fusion_tokens", init, (self.fusion_tokens, self.width), jnp.float32)
        shape = (batch, self.fusion_tokens, self.width)
        learned = jnp.broadcast_to(learned.astype(self.dtype), shape)
        parts = [Tokens(learned, jnp.ones(shape[:2], bool))]
        for name in tokens:
            parts.append(Tokens(self.embedded(name, tokens[name]), tokens[name].mask))
        x, mask = join_tokens(parts)
        x = nn.Dropout(self.dropout, deterministic=deterministic)(x)
        x = Transformer(self.layers, **self.block_options, name="transformer")(
            x, mask, deterministic=deterministic
        )
        pooled = jnp.mean(x[:, : self.fusion_tokens], axis=1, dtype=jnp.float32)
        return Fused(Tokens(zero_masked(x, mask), mask), pooled.astype(self.dtype))

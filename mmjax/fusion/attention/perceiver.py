"""Fusion by a fixed number of latents that read all modalities."""

from collections.abc import Mapping

import flax.linen as nn
import jax.numpy as jnp

from mmjax.fusion.attention.sequences import ReadingLayer, SequenceFusion, join_tokens
from mmjax.nn.layers.layer_norm import LayerNorm
from mmjax.nn.layers.options import choose
from mmjax.nn.layers.transformer import Block
from mmjax.types import Fused, Tokens

READS_EVERY = {"every": True, "first": False}


class PerceiverFusion(SequenceFusion):
    """Latents read the tokens of all modalities, and then each other, several times.

    Perceiver (Jaegle et al. 2021, https://arxiv.org/abs/2103.03206): each of `repeats` rounds is a
    cross-attention from the latents to all real tokens, with an mlp, and `layers` blocks of
    self-attention over the latents. All are pre-norm, the tokens have a norm of their own in each
    cross-attention, and a norm closes the stack. The cost grows with N * latents, not with N * N.
    With reads="first" and share=True it is the encoder of Perceiver IO (Jaegle et al. 2022,
    https://arxiv.org/abs/2107.14795) and the norm with which its decoder begins.

    Attributes:
        width: D of the latents and of the result. A modality of another width is projected to it.
        latents: number of latents.
        repeats: number of rounds.
        layers: blocks of self-attention in each round.
        reads: "every" round begins with a cross-attention, or the "first" one only.
        share: whether the rounds share their weights. The first cross-attention has its own even
            then, and later ones share theirs.
        cross_heads: heads of the cross-attention.
        heads, mlp_ratio, dropout, activation: of the blocks.
    """

    latents: int = 16
    repeats: int = 2
    layers: int = 1
    reads: str = "every"
    share: bool = False
    cross_heads: int = 1
    activation: str = "gelu"

    def fuse(self, tokens: Mapping[str, Tokens], deterministic: bool) -> Fused:
        """Returns the mean of the latents [B D], and the latents as tokens [B latents D].

        The latents are always real. Where no modality is present, they read each other alone.
        """
        reads_every = choose(READS_EVERY, self.reads, "reads")
        context = join_tokens(Tokens(self.embedded(n, t), t.mask) for n, t in tokens.items())
        drop = nn.Dropout(self.dropout, deterministic=deterministic)
        context = Tokens(drop(context.x), context.mask)
        init = nn.initializers.truncated_normal(0.02)
        latents = self.param("latents", init, (self.latents, self.width), jnp.float32)
        shape = (context.x.shape[0], self.latents, self.width)
        x = jnp.broadcast_to(latents.astype(self.dtype), shape)
        mask = jnp.ones(shape[:2], bool)
        options = self.block_options | {"activation": self.activation}
        cross = options | {"heads": self.cross_heads}
        made = {}
        for turn in range(self.repeats):
            if turn == 0 or reads_every:
                name = f"cross_{min(turn, 1) if self.share else turn}"
                if name not in made:
                    made[name] = ReadingLayer(**cross, self_attention=False, name=name)
                x = made[name](x, mask, context, deterministic=deterministic)
            for layer in range(self.layers):
                name = f"block_{layer}" if self.share else f"block_{turn}_{layer}"
                if name not in made:
                    made[name] = Block(**options, name=name)
                x = made[name](x, deterministic=deterministic)
        x = LayerNorm(name="norm")(x)
        pooled = jnp.mean(x, axis=1)
        return Fused(Tokens(x.astype(self.dtype), mask), pooled.astype(self.dtype))

"""Fusion of streams through a few shared tokens."""

from collections.abc import Mapping

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mmjax.errors import UserError
from mmjax.fusion.attention.sequences import SequenceFusion, join_tokens
from mmjax.nn.layers.layer_norm import LayerNorm
from mmjax.nn.layers.masking import zero_masked
from mmjax.nn.layers.pooling import masked_mean
from mmjax.nn.layers.transformer import Block
from mmjax.types import Fused, Tokens


class BottleneckFusion(SequenceFusion):
    """Multimodal bottleneck transformer: streams that exchange through a few shared tokens (Nagrani
    et al. 2021, https://arxiv.org/abs/2107.00135).

    Each modality m has blocks of its own over [class token; its tokens]. From the layer
    `fusion_start` on, the stream is joined by bottleneck tokens z that all modalities share:

        [x_m; z_m] = block_m([x_m; z]),    z = mean over the present modalities of z_m

    So modalities exchange information through the bottlenecks alone, and not before the second
    fused layer: in the first, they read bottlenecks that no modality has written to.

    Attributes:
        layers: number of blocks of each modality.
        fusion_start: number of blocks before the streams are joined; the paper's mid fusion has
            8 of 12. Equal to `layers`: late fusion, in which only the class tokens meet.
        bottlenecks: number of bottleneck tokens; 0: the streams stay apart.
    """

    layers: int = 3
    fusion_start: int = 1
    bottlenecks: int = 4

    def fuse(self, tokens: Mapping[str, Tokens], deterministic: bool) -> Fused:
        """Returns the mean of the present modalities' class tokens [B D], and all streams.

        As the paper averages the logits of the class tokens, which is the same for a linear head.
        `tokens` of the result is [class token; tokens] of each modality by sorted name, after a
        last norm of its own, zero where masked. A class token is masked where its modality is
        absent; with no modality present, `pooled` is zero.

        Raises:
            UserError: a fusion_start outside 0 to `layers`.
        """
        if not 0 <= self.fusion_start <= self.layers:
            raise UserError(
                f"bottleneck fusion: fusion_start {self.fusion_start} with {self.layers} layers:"
                f" choose one from 0 to {self.layers}"
            )
        drop = nn.Dropout(self.dropout, deterministic=deterministic)
        streams = {name: self._stream(name, tokens[name]) for name in tokens}
        streams = {name: Tokens(drop(x), mask) for name, (x, mask) in streams.items()}
        present = jnp.stack([mask[:, 0] for _, mask in streams.values()], axis=1)
        shared = self._learned("bottlenecks", self.bottlenecks, present.shape[0])
        for layer in range(self.layers):
            joined = layer >= self.fusion_start and self.bottlenecks > 0
            written = []
            for name, stream in streams.items():
                length = stream.x.shape[1]
                x, mask = join_tokens([stream, shared]) if joined else stream
                block = Block(**self.block_options, name=f"{name}_block_{layer}")
                x = block(x, mask, deterministic=deterministic)
                streams[name] = Tokens(x[:, :length], stream.mask)
                written.append(x[:, length:])
            if joined:
                shared = Tokens(_mean_present(jnp.stack(written, axis=1), present), shared.mask)
        for name, (x, mask) in streams.items():
            x = LayerNorm(name=f"norm_{name}")(x).astype(self.dtype)
            streams[name] = Tokens(zero_masked(x, mask), mask)
        classes = jnp.stack([x[:, 0] for x, _ in streams.values()], axis=1)
        return Fused(join_tokens(streams.values()), masked_mean(classes, present))

    def _stream(self, name: str, tokens: Tokens) -> Tokens:
        """[class token; tokens] of a modality."""
        x = self.embedded(name, tokens)
        first = self._learned(f"class_{name}", 1, x.shape[0])
        present = jnp.any(tokens.mask, axis=1, keepdims=True)
        return join_tokens([Tokens(first.x, present), Tokens(x, tokens.mask)])

    def _learned(self, name: str, count: int, batch: int) -> Tokens:
        init = nn.initializers.normal(0.02)
        table = self.param(name, init, (count, self.width), jnp.float32)
        x = jnp.broadcast_to(table.astype(self.dtype), (batch, count, self.width))
        return Tokens(x, jnp.ones((batch, count), bool))


def _mean_present(x: Float[Array, "B M N D"], present: Bool[Array, "B M"]) -> Float[Array, "B N D"]:
    """The mean over the present modalities; zeros where there is none."""
    flat = x.reshape(*x.shape[:2], -1)
    return masked_mean(flat, present).reshape(x.shape[0], *x.shape[2:])

"""Fusion by crossmodal transformers between all ordered pairs of modalities."""

import functools
from collections.abc import Mapping

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mmjax.errors import UserError
from mmjax.fusion.attention.sequences import POOLS, ReadingLayer, SequenceFusion, join_tokens
from mmjax.fusion.pooling.projected import JointDense
from mmjax.nn.layers.layer_norm import LayerNorm
from mmjax.nn.layers.masking import zero_masked
from mmjax.nn.layers.options import choose, shared
from mmjax.nn.layers.positions import sinusoids
from mmjax.nn.layers.transformer import BlockOptions, Transformer
from mmjax.types import Fused, Tokens


class CrossmodalTransformer(BlockOptions):
    """Layers of cross-attention and mlp, through which a target reads a source that stays as it is.

    They are pre-norm on both sequences.

    Attributes:
        layers: number of layers.
        heads: number of attention heads; it divides the width D.
    """

    layers: int
    heads: int

    @nn.compact
    def __call__(
        self, target: Tokens, source: Tokens, *, deterministic: bool = True
    ) -> Float[Array, "B N D"]:
        """The target's tokens [B N D], exact zeros in rows without a source."""
        x, mask = target
        options = shared(self, ReadingLayer)
        for layer in range(self.layers):
            read = ReadingLayer(**options, self_attention=False, name=f"layer_{layer}")
            x = read(x, mask, source, deterministic=deterministic)
        x = LayerNorm(name="norm")(x).astype(self.dtype)
        present = jnp.any(source.mask, axis=1, keepdims=True)
        return zero_masked(x, jnp.broadcast_to(present, mask.shape))


class MultFusion(SequenceFusion):
    """MulT: every modality reads every other one, and then itself (Tsai et al. 2019,
    https://arxiv.org/abs/1906.00295).

        x_m = convolution(tokens_m) + sinusoidal positions
        z_(t<-s) = crossmodal transformer of x_t reading x_s, for every ordered pair (t, s)
        y_t = self-attention transformer(W_t [z_(t<-s) for every s] + b_t)
        pooled = V [a token of y_t for every t] + c

    Transformers are pre-norm with ReLU and share no parameters. W_t, which the paper does not have,
    keeps the width the same for any number of modalities; it is one kernel block a source, V one
    a target. A source that is absent adds exactly nothing; a target that has no source left passes
    x_t to its self-attention.

    Attributes:
        width: D of the result and of all transformers. The modalities may have other widths.
        layers: number of layers of each crossmodal transformer.
        self_layers: number of layers of each self-attention transformer.
        kernel_size: of the convolution along the tokens, odd; 1 if their order means nothing.
        pool: the token of y_t: "first", "last" (as in the paper) or "mean" of the real ones.
    """

    self_layers: int = 2
    kernel_size: int = 3
    pool: str = "last"

    def fuse(self, tokens: Mapping[str, Tokens], deterministic: bool) -> Fused:
        """Returns the pooled vector [B D] (c with no modality present), and all y_t.

        `tokens` of the result are those of the targets, by sorted name.

        Raises:
            UserError: an even kernel size.
        """
        pool = choose(POOLS, self.pool, "pool")
        if self.kernel_size < 1 or self.kernel_size % 2 == 0:
            raise UserError(
                f"mult fusion: kernel_size {self.kernel_size} is not odd and positive: choose 1,"
                " 3 or another odd number"
            )
        drop = nn.Dropout(self.dropout, deterministic=deterministic)
        inputs = {
            name: Tokens(drop(self._embed(name, *tokens[name])), tokens[name].mask)
            for name in tokens
        }
        vectors, outputs = {}, []
        for target in tokens:
            x, mask = self._read_others(target, inputs, deterministic)
            own = Transformer(
                self.self_layers, **self.block_options, activation="relu", name=f"self_{target}"
            )
            x = own(x, mask, deterministic=deterministic)
            vectors[target] = pool(x, mask)
            outputs.append(Tokens(zero_masked(x, mask), mask))
        pooled = JointDense(self.width, dtype=self.dtype, name="pool")(vectors)
        return Fused(join_tokens(outputs), pooled)

    def _embed(
        self, name: str, x: Float[Array, "B N F"], mask: Bool[Array, "B N"]
    ) -> Float[Array, "B N D"]:
        conv = nn.Conv(
            self.width, (self.kernel_size,), use_bias=False, dtype=self.dtype, name=f"conv_{name}"
        )
        x = conv(zero_masked(x, mask))
        return x + sinusoids(x.shape[1], self.width).astype(x.dtype)

    def _read_others(
        self, target: str, inputs: Mapping[str, Tokens], deterministic: bool
    ) -> Tokens:
        x, mask = inputs[target]
        sources = {name: source for name, source in inputs.items() if name != target}
        if not sources:
            return inputs[target]
        parts = {}
        for name, source in sources.items():
            options = self.block_options | {"activation": "relu", "name": f"{target}_from_{name}"}
            transformer = CrossmodalTransformer(self.layers, **options)
            part = transformer(inputs[target], source, deterministic=deterministic)
            parts[name] = part.reshape(-1, self.width)
        joint = JointDense(self.width, dtype=self.dtype, name=f"join_{target}")(parts)
        present = [jnp.any(source.mask, axis=1) for source in sources.values()]
        some = functools.reduce(jnp.logical_or, present)
        return Tokens(jnp.where(some[:, None, None], joint.reshape(x.shape), x), mask)

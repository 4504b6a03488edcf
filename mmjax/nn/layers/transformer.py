"""Transformer blocks: pre-norm (Xiong et al. 2020, https://arxiv.org/abs/2002.04745), or post-norm
as in the original (Vaswani et al. 2017, https://arxiv.org/abs/1706.03762)."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mmjax.nn.layers.attention import CacheIndex, CrossAttention, SelfAttention
from mmjax.nn.layers.dense import Dense
from mmjax.nn.layers.layer_norm import LayerNorm
from mmjax.nn.layers.options import activation, choose, shared

NORM_PLACES = {"pre": True, "post": False}
SCANNED = "block"  # the name of all blocks at once


class BlockOptions(nn.Module, kw_only=True):
    """What blocks, and stacks of them, have besides their heads.

    Attributes:
        mlp_ratio: hidden width of the mlp, in units of D.
        dropout: share dropped of the attention weights and of what each branch adds.
        dtype: type of the computation; norms and softmax are in float32.
        norm: "pre" or "post".
        activation: of the mlp, a name in `mmjax.nn.layers.options.ACTIVATIONS`.
        causal: token i attends to the tokens 0 to i only.
        epsilon: of the norms.
        layer_scale: initial factor of each branch, learned per channel (Touvron et al. 2021,
            https://arxiv.org/abs/2103.17239). None: no factor.
        mlp_width: hidden width of the mlp. None: as mlp_ratio says.
        gated: whether the activation of one half of the hidden layer multiplies another, of the
            same width (SwiGLU with "silu": Shazeer 2020, https://arxiv.org/abs/2002.05202).
        qkv_bias: whether queries, keys and values have biases.
    """

    mlp_ratio: float | int = 4
    dropout: float = 0.0
    dtype: Any = jnp.float32
    norm: str = "pre"
    activation: str = "gelu"
    causal: bool = False
    epsilon: float = 1e-6
    layer_scale: float | None = None
    mlp_width: int | None = None
    gated: bool = False
    qkv_bias: bool = True


class Block(BlockOptions):
    """Self-attention, cross-attention if there is a context, and an mlp, each a residual branch.

    Pre-norm: x + branch(norm(x)). Post-norm: norm(x + branch(x)).

    Attributes:
        heads: number of attention heads; it divides the width D.
        self_attention: whether there is self-attention; without, give a context.
    """

    heads: int
    self_attention: bool = True

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "B N D"],
        mask: Bool[Array, "B N"] | None = None,
        *,
        context: Float[Array, "B S C"] | None = None,
        context_mask: Bool[Array, "B S"] | None = None,
        angles: Float[Array, "N k"] | None = None,
        cache: CacheIndex | None = None,
        deterministic: bool = True,
    ) -> Float[Array, "B N D"]:
        """Tokens x [B N D] after the block; masked ones are read by none and finite.

        Args:
            x, mask: the tokens, and which are real.
            context, context_mask: another sequence, of any width, that each token reads.
            angles: of rotary positions for the self-attention.
            cache: where the only token of x goes in the KV cache (see `SelfAttention`), which has
                the keys and values of the context, too.
        """
        if self.self_attention:
            attend = SelfAttention(
                self.heads, self.dropout, self.dtype, self.causal, self.qkv_bias, name="attention"
            )

            def read_own(y):
                return attend(y, mask, angles=angles, cache=cache, deterministic=deterministic)

            x = self._branch(x, read_own, "attention", deterministic)
        if context is not None:
            cross = CrossAttention(self.heads, self.dropout, self.dtype, name="cross")

            def read_context(y):
                cached = cache is not None
                return cross(y, context, context_mask, cached=cached, deterministic=deterministic)

            x = self._branch(x, read_context, "cross", deterministic)
        width = x.shape[-1]
        hidden = int(width * self.mlp_ratio) if self.mlp_width is None else self.mlp_width
        enter = Dense(hidden * (1 + self.gated), dtype=self.dtype, name="mlp_in")
        leave = Dense(width, dtype=self.dtype, name="mlp_out")
        act = activation(self.activation)

        def mlp(y):
            gate, *rest = jnp.split(enter(y), 1 + self.gated, axis=-1)
            return leave(act(gate) * rest[0] if self.gated else act(gate))

        return self._branch(x, mlp, "mlp", deterministic)

    def _branch(
        self, x: Array, branch: Callable[[Array], Array], name: str, deterministic: bool
    ) -> Array:
        norm = LayerNorm(self.epsilon, name=f"{name}_norm")
        first = choose(NORM_PLACES, self.norm, "norm")
        y = branch(norm(x) if first else x)
        if self.layer_scale is not None:
            init = nn.initializers.constant(self.layer_scale)
            scale = self.param(f"{name}_scale", init, (x.shape[-1],), jnp.float32)
            y = y * scale.astype(y.dtype)
        x = x + nn.Dropout(self.dropout, deterministic=deterministic)(y)
        return x if first else norm(x).astype(self.dtype)


class Transformer(BlockOptions):
    """Blocks one after the other, and, for a pre-norm stack, the norm that closes it.

    Masked tokens are never attended to; what this returns at their places is finite and of no
    meaning, so the caller zeroes it.

    Parameters are those of block_0, block_1, ... and of the norm.

    Attributes:
        layers: number of blocks.
        heads: number of attention heads; it divides the width D.
        remat: recompute each block in the backward pass, to save memory.
        final_norm: whether a norm follows the last block of a pre-norm stack.
        scan: one block is compiled and run `layers` times. Its parameters, called block, are those
            of all blocks, stacked along a first axis of layers.
    """

    layers: int
    heads: int
    remat: bool = False
    final_norm: bool = True
    scan: bool = False

    def __call__(
        self, x: Float[Array, "B N D"], mask: Bool[Array, "B N"] | None = None, **given: Any
    ) -> Float[Array, "B N D"]:
        """As Block, `layers` times; `given` is what else a block takes."""
        return self.with_states(x, mask, **given)[0]

    @nn.compact
    def with_states(
        self,
        x: Float[Array, "B N D"],
        mask: Bool[Array, "B N"] | None = None,
        *,
        deterministic: bool = True,
        **given: Any,
    ) -> tuple[Float[Array, "B N D"], tuple[Float[Array, "B _ D"], ...]]:
        """The same, and the hidden states: the tokens before the first block and after each.

        The final norm is not in the last of them. Each has as many tokens as x, unless a tuned
        model runs learned ones through the blocks (see `mmjax.tuning.tokens.Prompt`).
        """
        x = x.astype(self.dtype)

        def run(block, x, mask, given):
            y = block(x, mask, **given, deterministic=deterministic)
            return y, y

        run = nn.remat(run, prevent_cse=not self.scan) if self.remat else run
        options = shared(self, Block)
        if self.scan:
            scan = nn.scan(
                run,
                variable_axes={"params": 0, "cache": 0},
                split_rngs={"params": True, "dropout": True},
                in_axes=(nn.broadcast, nn.broadcast),
                length=self.layers,
            )
            y, found = scan(Block(**options, name=SCANNED), x, mask, given)
            states = (x, *(found[layer] for layer in range(self.layers)))
        else:
            states = (x,)
            for layer in range(self.layers):
                y, _ = run(Block(**options, name=f"block_{layer}"), states[-1], mask, given)
                states = (*states, y)
            y = states[-1]
        if self.final_norm and choose(NORM_PLACES, self.norm, "norm"):
            y = LayerNorm(self.epsilon, name="norm")(y).astype(self.dtype)
        return y, states

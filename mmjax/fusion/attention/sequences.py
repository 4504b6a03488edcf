"""What fusions of token sequences are made of.

The functions that take a name make layers called after it: call them in a compact method.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mmjax.fusion.fusion import Fusion
from mmjax.nn.layers.dense import Dense
from mmjax.nn.layers.embedding import LearnedPositions
from mmjax.nn.layers.layer_norm import LayerNorm
from mmjax.nn.layers.masking import zero_masked
from mmjax.nn.layers.options import choose, shared
from mmjax.nn.layers.pooling import masked_mean
from mmjax.nn.layers.transformer import NORM_PLACES, Block, BlockOptions
from mmjax.types import Tokens


def project_tokens(
    name: str, tokens: Tokens, width: int, dtype: Any
) -> Float[Array, "B N {width}"]:
    """The tokens in `width`, exact zeros where masked.

    Where they have another width, by the layer `project_NAME`.
    """
    x = zero_masked(tokens.x, tokens.mask).astype(dtype)
    if x.shape[-1] == width:
        return x
    return zero_masked(Dense(width, dtype=dtype, name=f"project_{name}")(x), tokens.mask)


def embed_tokens(
    module: nn.Module, name: str, tokens: Tokens, width: int, dtype: Any
) -> Float[Array, "B N {width}"]:
    """Projected tokens plus a learned vector of the modality's name and learned positions.

    Positions are sized at initialisation; a shorter sequence uses the first ones.

    Args:
        module: the fusion that calls; it holds the vector as `modality_NAME`.
        name, tokens, width, dtype: as in `project_tokens`.

    Raises:
        UserError: a longer sequence than at initialisation.
    """
    x = project_tokens(name, tokens, width, dtype)
    init = nn.initializers.normal(0.02)
    modality = module.param(f"modality_{name}", init, (width,), jnp.float32)
    return LearnedPositions(name=f"positions_{name}")(x + modality.astype(x.dtype))


def join_tokens(sequences: Iterable[Tokens]) -> Tokens:
    """One sequence of all tokens, those of the first sequence first."""
    xs, masks = zip(*sequences, strict=True)
    return Tokens(jnp.concatenate(xs, axis=1), jnp.concatenate(masks, axis=1))


def first_token(x: Float[Array, "B N D"], mask: Bool[Array, "B N"]) -> Float[Array, "B D"]:
    """The first real token; exact zeros for a row that has none."""
    place = jnp.argmax(mask, axis=1)
    token = jnp.take_along_axis(x, place[:, None, None], axis=1)[:, 0]
    return zero_masked(token, jnp.any(mask, axis=1))


def last_token(x: Float[Array, "B N D"], mask: Bool[Array, "B N"]) -> Float[Array, "B D"]:
    """The last real token; exact zeros for a row that has none."""
    return first_token(x[:, ::-1], mask[:, ::-1])


POOLS: Mapping[str, Callable[[Array, Array], Array]] = {
    "first": first_token,
    "last": last_token,
    "mean": masked_mean,
}


class ReadingLayer(BlockOptions):
    """A block that reads a context (cross-attention, mlp), then one of self-attention and mlp.

    A row whose context has no real token skips the first block: its tokens are what they were.
    With norm "pre" the context passes a norm of its own.

    Attributes:
        heads: number of attention heads; it divides the width D.
        self_attention: whether there is the second block.
    """

    heads: int
    self_attention: bool = True

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "B N D"],
        mask: Bool[Array, "B N"],
        context: Tokens | None,
        *,
        deterministic: bool = True,
    ) -> Float[Array, "B N D"]:
        """Tokens x [B N D] after the layer; masked ones are read by none and finite.

        Args:
            x, mask: the tokens, and which are real.
            context: what they read, of any width. None: nothing, in every row.
        """
        options = shared(self, Block)
        if context is not None:
            y = context.x
            if choose(NORM_PLACES, self.norm, "norm"):
                y = LayerNorm(name="context_norm")(y).astype(self.dtype)
            reader = Block(**options | {"self_attention": False}, name="cross_block")
            read = reader(
                x, mask, context=y, context_mask=context.mask, deterministic=deterministic
            )
            something = jnp.any(context.mask, axis=1)
            x = jnp.where(something[:, None, None], read, x)
        if self.self_attention:
            x = Block(**options, name="self_block")(x, mask, deterministic=deterministic)
        return x.astype(self.dtype)


class SequenceFusion(Fusion):
    """A fusion by transformer blocks over the modalities' tokens.

    Each modality's tokens get an embedding of its name and learned positions, sized at
    initialisation (a shorter sequence uses the first ones; a longer one is a UserError, as is a
    width that does not split into the heads).

    Attributes:
        layers: number of blocks, or of layers of several.
        heads, mlp_ratio: of the blocks.
    """

    layers: int = 2
    heads: int = 4
    mlp_ratio: float | int = 4

    @property
    def block_options(self) -> dict[str, Any]:
        """Those of the fusion's options that a block has, but for `activation` and `norm`."""
        return {name: getattr(self, name) for name in ("heads", "mlp_ratio", "dropout", "dtype")}

    def embedded(self, name: str, tokens: Tokens) -> Float[Array, "B N D"]:
        """The tokens of a modality, as `embed_tokens` does."""
        return embed_tokens(self, name, tokens, self.width, self.dtype)

    def streams(self, tokens: Mapping[str, Tokens], deterministic: bool) -> dict[str, Tokens]:
        """The embedded tokens of each modality, dropped."""
        drop = nn.Dropout(self.dropout, deterministic=deterministic)
        return {n: Tokens(drop(self.embedded(n, t)), t.mask) for n, t in tokens.items()}

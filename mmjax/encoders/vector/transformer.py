"""FT-Transformer (Gorishniy et al. 2021, https://arxiv.org/abs/2106.11959)."""

from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array

from mmjax.encoders.encoder import READOUTS, BlocksEncoder, as_tokens
from mmjax.encoders.vector.features import FeatureEncoder
from mmjax.nn.layers.options import choose
from mmjax.types import Tokens

# From all tokens and the mask: the tokens that come out. For "class" the class token is the first.
OUTPUTS: Mapping[str, Callable[[Array, Array], Array]] = {
    "class": lambda x, _: x[:, :1],
    **READOUTS,
}


def tokenizer_init(key: jax.Array, shape: tuple[int, ...], dtype: Any) -> Array:
    """Uniform over -1 / sqrt(D) to 1 / sqrt(D), with D the last axis."""
    bound = shape[-1] ** -0.5
    return jax.random.uniform(key, shape, dtype, -bound, bound)


class VectorTransformer(BlocksEncoder, FeatureEncoder):
    """float32 features [B F] -> a token for each feature: transformer(feature * scale + bias).

    Each feature has a scale [D] and a bias [D] of its own. A missing feature is a masked token, so
    it is not read at all. The blocks are pre-norm, the first one too, with a plain mlp (the paper
    leaves out the first norm, and gates the mlp).

    Attributes:
        output: "sequence" (a token a feature), or one token: "class" (a learned token that joined
            them) or "mean" (over the features that are there).
    """

    @nn.compact
    def encode(self, x: Array, mask: Array, deterministic: bool) -> Tokens:
        """Tokens [B F D], or [B 1 D] for one token."""
        choose_output = choose(OUTPUTS, self.output, "output")
        shape = (x.shape[1], self.width)
        scale = self.param("scale", tokenizer_init, shape, jnp.float32)
        bias = self.param("bias", tokenizer_init, shape, jnp.float32)
        x, real = (x[..., None] * scale + bias).astype(self.dtype), mask
        if self.output == "class":
            summary = self.param("class_token", tokenizer_init, (self.width,), jnp.float32)
            summary = jnp.broadcast_to(summary.astype(self.dtype), (x.shape[0], 1, self.width))
            x = jnp.concatenate([summary, x], axis=1)
            real = jnp.pad(mask, ((0, 0), (1, 0)), constant_values=True)
        return as_tokens(choose_output(self.blocks(x, real, deterministic), real), mask)

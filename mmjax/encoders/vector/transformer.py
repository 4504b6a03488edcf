"""FT-Transformer (Gorishniy et al. 2021, https://arxiv.org/abs/2106.11959)."""

from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Shaped

from mmjax.encoders.vector.features import Constant, standardise
from mmjax.nn.layers.masking import zero_masked
from mmjax.nn.layers.options import choose
from mmjax.nn.layers.pooling import masked_mean
from mmjax.nn.layers.transformer import Transformer
from mmjax.types import Tokens

# From all tokens and the mask: the tokens that come out. For "class" the class token is the first.
OUTPUTS: Mapping[str, Callable[[Array, Array], Array]] = {
    "class": lambda x, _: x[:, :1],
    "mean": lambda x, mask: masked_mean(x, mask)[:, None],
    "sequence": lambda x, _: x,
}


def tokenizer_init(key: jax.Array, shape: tuple[int, ...], dtype: Any) -> Array:
    """Uniform over -1 / sqrt(D) to 1 / sqrt(D), with D the last axis."""
    bound = shape[-1] ** -0.5
    return jax.random.uniform(key, shape, dtype, -bound, bound)


class VectorTransformer(nn.Module):
    """float32 features [B F] -> a token for each feature: transformer(feature * scale + bias).

    Each feature has a scale [D] and a bias [D] of its own. A missing feature is a masked token, so
    it is not read at all. The blocks are pre-norm, the first one too, with a plain mlp (the paper
    leaves out the first norm, and gates the mlp).

    Attributes:
        width: D of the tokens.
        layers, heads, mlp_ratio, dropout, remat: of the transformer.
        output: "sequence" (a token a feature), or one token: "class" (a learned token that joined
            them) or "mean" (over the features that are there).
        feature_mean, feature_std: of the data, a number or one for each feature; what the features
            are normalised by.
        dtype: type of the computation; norms and softmax are in float32.
    """

    width: int
    layers: int = 2
    heads: int = 4
    mlp_ratio: float | int = 4
    output: str = "sequence"
    feature_mean: Constant = 0.0
    feature_std: Constant = 1.0
    dropout: float = 0.0
    dtype: Any = jnp.float32
    remat: bool = False

    @nn.compact
    def __call__(
        self,
        value: Shaped[Array, "B F"],
        mask: Bool[Array, "B F"] | None = None,
        *,
        deterministic: bool = True,
    ) -> Tokens:
        """Features [B F] and which are there -> Tokens [B F D], or [B 1 D] for one token.

        Raises:
            UserError: not float32, constants that do not fit, or an unknown output.
        """
        choose_output = choose(OUTPUTS, self.output, "output")
        mask = jnp.ones(value.shape, bool) if mask is None else mask
        x = standardise(value, self.feature_mean, self.feature_std)
        x = jnp.where(mask, x, 0.0)[..., None]
        shape = (value.shape[1], self.width)
        scale = self.param("scale", tokenizer_init, shape, jnp.float32)
        x = (x * scale + self.param("bias", tokenizer_init, shape, jnp.float32)).astype(self.dtype)
        real = mask
        if self.output == "class":
            summary = self.param("class_token", tokenizer_init, (self.width,), jnp.float32)
            summary = jnp.broadcast_to(summary.astype(self.dtype), (x.shape[0], 1, self.width))
            x = jnp.concatenate([summary, x], axis=1)
            real = jnp.pad(mask, ((0, 0), (1, 0)), constant_values=True)
        x = nn.Dropout(self.dropout, deterministic=deterministic)(x)
        x = Transformer(
            self.layers,
            self.heads,
            self.mlp_ratio,
            self.dropout,
            self.dtype,
            remat=self.remat,
            name="transformer",
        )(x, real, deterministic=deterministic)
        x = choose_output(x, real)
        tokens = mask if self.output == "sequence" else jnp.any(mask, axis=1, keepdims=True)
        return Tokens(zero_masked(x, tokens), tokens)

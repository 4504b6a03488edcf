"""Feature-wise linear modulation."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mmjax.errors import UserError
from mmjax.fusion.pooling.projected import JointDense, MeansFusion
from mmjax.nn.layers.dense import Dense
from mmjax.nn.layers.layer_norm import LayerNorm
from mmjax.nn.layers.masking import zero_masked
from mmjax.nn.layers.options import activation
from mmjax.nn.layers.pooling import masked_mean
from mmjax.types import Fused, Tokens


class FilmLayers(nn.Module):
    """x <- x + activation(gamma * norm(x W + b) + beta), layer by layer, for each token.

    Attributes:
        activation: a name in `mmjax.nn.layers.options.ACTIVATIONS`.
        dtype: type of the computation; the norms, which have no parameters, are in float32.
    """

    activation: str = "relu"
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "B N D"],
        gamma: Float[Array, "B layers D"],
        beta: Float[Array, "B layers D"],
    ) -> Float[Array, "B N D"]:
        """Tokens, and the factors and offsets of their features in each layer -> tokens."""
        act = activation(self.activation)
        for layer in range(gamma.shape[1]):
            y = Dense(x.shape[-1], dtype=self.dtype, name=f"dense_{layer}")(x)
            y = LayerNorm(affine=False)(y)
            x = x + act(gamma[:, layer, None] * y.astype(x.dtype) + beta[:, layer, None])
        return x


class FilmFusion(MeansFusion):
    """FiLM (Perez et al. 2018, https://arxiv.org/abs/1709.07871): others modulate one's features.

    The tokens of a target pass residual layers x + activation(gamma * norm(x W + b) + beta), where
    gamma = 1 + sum_j G_j mean_j and beta = sum_j B_j mean_j are linear in the means of the other
    modalities, and are averaged. These layers are the paper's residual blocks without convolution,
    with a norm over features. Without a `target`, each modality is the target once, with layers of
    its own, and the results are averaged over the present ones.

    An absent condition adds exactly nothing; without any, gamma is 1 and beta 0. In place of an
    absent `target` there is one token of zeros, so the result still depends on the conditions.

    Attributes:
        target: name of the modality that the others modulate. None: each one by all others.
        layers: number of modulated layers.
        activation: a name in `mmjax.nn.layers.options.ACTIVATIONS`.
        dropout: share dropped of each condition's mean.
    """

    target: str | None = None
    layers: int = 1
    activation: str = "relu"

    def fuse(self, tokens: Mapping[str, Tokens], deterministic: bool) -> Fused:
        """Returns the mean of the modulated tokens [B D], and these tokens.

        `tokens` of the result is [B N D]: the tokens of the target, or of all modalities one after
        the other by sorted name. With no modality present and no `target`, `pooled` is zeros.

        Raises:
            UserError: a target that is not among the modalities at initialisation.
        """
        if self.target is not None and self.target not in tokens and self.is_initializing():
            raise UserError(
                f"film fusion: target {self.target!r} is not a modality:"
                f" choose one of {', '.join(tokens)}, or None"
            )
        means, present = self.means(tokens, deterministic)
        if self.target is not None:
            modulated, pooled = self._modulate(tokens.get(self.target), means, self.target)
            return Fused(modulated, pooled)
        parts, results = zip(*(self._modulate(tokens[n], means, n) for n in tokens), strict=True)
        x, mask = (jnp.concatenate(part, axis=1) for part in zip(*parts, strict=True))
        return Fused(Tokens(x, mask), masked_mean(jnp.stack(results, axis=1), present))

    def _modulate(
        self, target: Tokens | None, means: Mapping[str, Float[Array, "B _"]], name: str
    ) -> tuple[Tokens, Float[Array, "B D"]]:
        """The target's tokens modulated by the other means, and their mean."""
        batch = next(iter(means.values())).shape[0]
        others = {n: mean for n, mean in means.items() if n != name}
        x = jnp.zeros((batch, 1, self.width), self.dtype)
        mask = jnp.zeros((batch, 1), bool)
        if target is not None:
            mask = target.mask
            x = zero_masked(target.x, mask)
            x = Dense(self.width, use_bias=False, dtype=self.dtype, name=f"project_{name}")(x)
        film = jnp.zeros((batch, 2 * self.layers * self.width), self.dtype)
        if others:
            dense = JointDense(film.shape[1], False, self.dtype, name=f"film_{name}")
            film = dense(others)
        change, beta = jnp.unstack(film.reshape(batch, 2, self.layers, self.width), axis=1)
        layers = FilmLayers(self.activation, self.dtype, name=f"layers_{name}")
        x = layers(x, 1 + change, beta)
        pooled = masked_mean(x, _at_least_one(mask))
        return Tokens(zero_masked(x, mask), mask), pooled


def _at_least_one(mask: Bool[Array, "B N"]) -> Bool[Array, "B N"]:
    """`mask`, with the first token, which holds zeros, in rows that have none."""
    return mask.at[:, 0].set(mask[:, 0] | ~jnp.any(mask, axis=1))

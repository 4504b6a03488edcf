"""Late fusion by attention: over the tokens of each modality, then over the modalities."""

from collections.abc import Mapping

import flax.linen as nn
import jax.numpy as jnp

from mmjax.fusion.fusion import Fusion
from mmjax.fusion.pooling.projected import project_each
from mmjax.nn.layers.attention_pooling import AttentionPooling
from mmjax.nn.layers.options import activation, choose
from mmjax.types import Fused, Tokens

SELECTIONS = {"gumbel": "gumbel", "hard": "hard", "multilevel": "soft", "soft": "soft"}


class AttentionPoolFusion(Fusion):
    """sum over the present modalities of b_m v_m, with v_m = pool_m(tokens of m) @ kernel_m + bias.

    The weights b are a softmax of u . tanh(W v + c) (attention over modalities, Hori et al. 2017,
    https://arxiv.org/abs/1701.03126, without a decoder's state); an absent modality weighs exactly
    zero. pool_m is attention over the real tokens, see mmjax.nn.layers.attention_pooling.

    Attributes:
        pooling: of the tokens: "soft" (softmax), "hard" (the mean of the `count` best tokens),
            "gumbel" (the same, drawn in training from the rng stream "sample") or "multilevel"
            (softmax in windows of `segments` tokens, then over the windows).
        score: of the tokens, "additive" or "dot".
        count: number of tokens taken; used if "hard" or "gumbel".
        temperature: of the tokens' softmax.
        segments: sizes of the windows, level by level; used if "multilevel".
        dropout: share dropped of the pooled vectors.
    """

    pooling: str = "soft"
    score: str = "additive"
    count: int = 1
    temperature: float | int = 1.0
    segments: tuple[int, ...] = (8,)

    def fuse(self, tokens: Mapping[str, Tokens], deterministic: bool) -> Fused:
        """Returns the weighted sum [B D] (zeros with no modality present).

        `tokens` of the result is [B M D] by sorted name: the vectors v, masked where a modality is
        absent. `extras` has the weights: "modalities" [B M], and "tokens_NAME" [B N] of each
        modality, all float32.

        Raises:
            UserError: a number that is not positive.
        """
        select = choose(SELECTIONS, self.pooling, "pooling")
        segments = self.segments if self.pooling == "multilevel" else ()
        drop = nn.Dropout(self.dropout, deterministic=deterministic)
        vectors, extras, presence = {}, {}, []
        for name in tokens:
            pool = AttentionPooling(
                select,
                self.score,
                self.count,
                self.temperature,
                segments,
                self.dtype,
                name=f"pool_{name}",
            )
            vector, weights = pool(*tokens[name], deterministic=deterministic)
            vectors[name] = drop(vector)
            extras[f"tokens_{name}"] = weights
            presence.append(jnp.any(tokens[name].mask, axis=1))
        mask = jnp.stack(presence, axis=1)
        x = project_each(vectors, mask, self.width, activation("identity"), self.dtype)
        pooled, extras["modalities"] = AttentionPooling(dtype=self.dtype, name="pool")(x, mask)
        return Fused(Tokens(x, mask), pooled, extras)

"""Fusion by attention maps that modalities give each other, without a transformer."""

import functools
import itertools
from collections.abc import Mapping

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mmjax.fusion.attention.sequences import project_tokens
from mmjax.fusion.fusion import Fusion
from mmjax.fusion.pooling.projected import JointDense
from mmjax.nn.layers.dense import Dense
from mmjax.nn.layers.options import choose
from mmjax.nn.layers.pooling import masked_mean, masked_softmax, weighted_sum
from mmjax.types import Fused, Tokens

CONCATENATE = {"concat": True, "sum": False}


class ParallelCoAttentionFusion(Fusion):
    """Parallel co-attention: each modality weighs its tokens by their affinity to another's.

    For the tokens Q and V of a pair (Lu et al. 2016, https://arxiv.org/abs/1606.00061):

        C = tanh(Q A V^T)                       the affinity of each token to each
        H_Q = tanh(Q W_Q + C V W_V)             H_V = tanh(V W_V + C^T Q W_Q)
        q = sum_n softmax(H_Q w_Q)_n Q_n        v = sum_n softmax(H_V w_V)_n V_n

    With more modalities every unordered pair has an A of its own, every modality one W and one w.
    A modality's weights are the mean of those that its present partners give it. One alone weighs
    its tokens by softmax(tanh(Q W_Q) w_Q).

    Attributes:
        hidden: width of H. None: as `width`.
        join: "sum" of the modalities' vectors, as in the paper, or "concat" (then a dense layer).
        dropout: share dropped of H.
    """

    hidden: int | None = None
    join: str = "sum"

    def fuse(self, tokens: Mapping[str, Tokens], deterministic: bool) -> Fused:
        """Returns the joined vectors [B D], and the vector of each modality as a token.

        `tokens` of the result is [B M D] by sorted name, zero where a modality is absent.
        `extras["weights"]` is [B N], the weights of all tokens, the modalities by sorted name;
        those of a present modality sum to one.
        """
        concatenate = choose(CONCATENATE, self.join, "join")
        xs = {name: project_tokens(name, tokens[name], self.width, self.dtype) for name in tokens}
        present = {name: jnp.any(tokens[name].mask, axis=1) for name in tokens}
        size = self.width if self.hidden is None else self.hidden
        hidden = {
            name: Dense(size, False, self.dtype, name=f"hidden_{name}")(x) for name, x in xs.items()
        }
        # The sum over another's tokens needs no mask: theirs are zeros where masked.
        readings = {name: {} for name in tokens}
        for a, b in itertools.combinations(tokens, 2):
            dense = Dense(self.width, False, self.dtype, name=f"affinity_{a}-{b}")
            affinity = jnp.tanh(jnp.einsum("bnd,bmd->bnm", dense(xs[a]), xs[b]))
            readings[a][b] = jnp.einsum("bnm,bmd->bnd", affinity, hidden[b])
            readings[b][a] = jnp.einsum("bnm,bnd->bmd", affinity, hidden[a])
        vectors, weights = {}, []
        for name in tokens:
            partners = [present[other] for other in readings[name]]
            alone = ~functools.reduce(jnp.logical_or, partners, jnp.zeros_like(present[name]))
            own = hidden[name]
            sums = [own, *(own + reading for reading in readings[name].values())]
            scores = self._score(name, jnp.stack(sums, axis=1), deterministic)
            weights.append(
                mean_weights(scores, tokens[name].mask, jnp.stack([alone, *partners], axis=1))
            )
            vectors[name] = weighted_sum(weights[-1], xs[name], tokens[name].mask)
        x = jnp.stack([vectors[name] for name in tokens], axis=1)
        mask = jnp.stack([present[name] for name in tokens], axis=1)
        if concatenate:
            pooled = JointDense(self.width, dtype=self.dtype, name="join")(vectors)
        else:
            pooled = jnp.sum(x, axis=1, dtype=jnp.float32).astype(self.dtype)
        return Fused(Tokens(x, mask), pooled, {"weights": jnp.concatenate(weights, axis=1)})

    def _score(
        self, name: str, sums: Float[Array, "B P N D"], deterministic: bool
    ) -> Float[Array, "B P N"]:
        hidden = nn.Dropout(self.dropout, deterministic=deterministic)(jnp.tanh(sums))
        return Dense(1, use_bias=False, name=f"score_{name}")(hidden)[..., 0]


def mean_weights(
    scores: Float[Array, "B P N"], mask: Bool[Array, "B N"], counted: Bool[Array, "B P"]
) -> Float[Array, "B N"]:
    """The mean over the counted rows of scores of their softmax over the real tokens."""
    weights = masked_softmax(scores, jnp.broadcast_to(mask[:, None], scores.shape))
    return masked_mean(weights, counted)

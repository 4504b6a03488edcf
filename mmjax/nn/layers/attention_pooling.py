"""One vector from many tokens, by learned attention: soft, hard, sampled, or over levels."""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mmjax.errors import UserError
from mmjax.nn.layers.dense import Dense
from mmjax.nn.layers.masking import zero_masked
from mmjax.nn.layers.options import choose
from mmjax.nn.layers.pooling import masked_softmax, weighted_sum


def straight_through_top_k(
    scores: Float[Array, "B N"], mask: Bool[Array, "B N"], count: int
) -> Float[Array, "B N"]:
    """Equal weights for the `count` real tokens of largest scores; the gradient of the softmax.

    The straight-through estimator of Bengio et al. 2013, https://arxiv.org/abs/1308.3432. With
    fewer real tokens than `count`, all of them are taken; with none, all weights are zero. Of
    equal scores, the first are taken.

    With scores [3, 1, 2], all real, and count 2: [0.5, 0, 0.5].
    """
    soft = masked_softmax(scores, mask)
    scores = jnp.where(mask, scores.astype(jnp.float32), -jnp.inf)
    length = scores.shape[1]
    _, places = jax.lax.top_k(scores, min(count, length))
    chosen = mask & jnp.any(places[..., None] == jnp.arange(length), axis=1)
    taken = jnp.sum(chosen, axis=1, keepdims=True, dtype=jnp.float32)
    hard = chosen / jnp.maximum(taken, 1.0)
    # In this order of terms the sum is exactly `hard`.
    return hard + (soft - jax.lax.stop_gradient(soft))


class Selection(NamedTuple):
    """Whether tokens are taken whole, and whether noise decides which."""

    hard: bool
    noisy: bool


SELECTIONS = {
    "gumbel": Selection(hard=True, noisy=True),
    "hard": Selection(hard=True, noisy=False),
    "soft": Selection(hard=False, noisy=False),
}
ADDITIVE = {"additive": True, "dot": False}


class AttentionPooling(nn.Module):
    """sum of w_n x_n over the real tokens, with weights w = select(score(x) / temperature).

    Scores: "additive" is u . tanh(W x + c), "dot" is u . x / sqrt(D), with u learned (Lin et al.
    2017, https://arxiv.org/abs/1703.03130; Yang et al. 2016, https://aclanthology.org/N16-1174).

    Selections: "soft" is the softmax. "hard" takes the mean of the `count` tokens of largest
    scores. "gumbel" draws them instead, without replacement, each in proportion to the softmax of
    its score (Jang et al. 2017, https://arxiv.org/abs/1611.01144; Kool et al. 2019,
    https://arxiv.org/abs/1903.06059), and is "hard" when deterministic. The gradient of the last
    two is that of the softmax of the same (noisy) scores, over temperature.

    With `segments`, there are levels, as in the attention of Yang et al. (words to sentences,
    sentences to a document, without their recurrent layers): windows of segments[0] tokens are
    pooled into one vector each, windows of segments[1] such vectors into one each, ..., and the
    last level pools all that is left. Each level has parameters of its own. The weight of a token
    is then the product of the weights on its way up.

    Attributes:
        select: "soft", "hard" or "gumbel".
        score: "additive" or "dot".
        count: number of tokens taken by "hard" and "gumbel".
        temperature: what scores are divided by; for "hard" and "gumbel" it shapes the gradient.
        segments: sizes of the windows, in units of the level below. (): one level.
        dtype: type of the scores' projection; softmax, weights and sums are in float32.
    """

    select: str = "soft"
    score: str = "additive"
    count: int = 1
    temperature: float | int = 1.0
    segments: tuple[int, ...] = ()
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, "B N D"], mask: Bool[Array, "B N"], *, deterministic: bool = True
    ) -> tuple[Float[Array, "B D"], Float[Array, "B N"]]:
        """Tokens [B N D] -> one vector [B D], and the weights [B N] of the tokens, in float32.

        Weights are zero where masked, and sum to one over the real tokens. A row without a real
        token gives exact zeros. Unless deterministic, "gumbel" reads the rng stream "sample".

        Raises:
            UserError: an unknown word, or a number that is not positive.
        """
        if min(self.count, self.temperature, *self.segments) <= 0:
            raise UserError(
                f"attention pooling: count {self.count}, temperature {self.temperature}, segments"
                f" {self.segments}: choose numbers above zero"
            )
        x = zero_masked(x, mask)
        batch, length, width = x.shape
        weights, below = jnp.ones((batch, length), jnp.float32), 1
        for level, size in enumerate(self.segments):
            x, mask = _windows(x, size), _windows(mask, size)
            flat = x.reshape(-1, size, width), mask.reshape(-1, size)
            pooled, shares = self._level(*flat, f"level_{level}", deterministic)
            weights = weights * jnp.repeat(shares.reshape(batch, -1), below, axis=1)[:, :length]
            x, mask, below = pooled.reshape(batch, -1, width), jnp.any(mask, axis=2), below * size
        pooled, shares = self._level(x, mask, "top", deterministic)
        return pooled, weights * jnp.repeat(shares, below, axis=1)[:, :length]

    def _level(self, x: Array, mask: Array, name: str, deterministic: bool) -> tuple[Array, Array]:
        width = x.shape[-1]
        keys, scale = x, width**-0.5
        if choose(ADDITIVE, self.score, "score"):
            keys, scale = jnp.tanh(Dense(width, dtype=self.dtype, name=f"{name}_keys")(x)), 1.0
        # Scores in float32, so that few are equal.
        scores = Dense(1, use_bias=False, name=f"{name}_scores")(keys)[..., 0] * scale
        selection = choose(SELECTIONS, self.select, "select")
        if selection.noisy and not deterministic:
            scores = scores + jax.random.gumbel(self.make_rng("sample"), scores.shape, jnp.float32)
        scores = scores / self.temperature
        if selection.hard:
            weights = straight_through_top_k(scores, mask, self.count)
        else:
            weights = masked_softmax(scores, mask)
        return weighted_sum(weights, x, mask), weights


def _windows(x: Array, size: int) -> Array:
    """[B N ...] -> [B windows size ...], with zeros (False) at the end of the last window."""
    pads = [(0, 0), (0, -x.shape[1] % size), *[(0, 0)] * (x.ndim - 2)]
    x = jnp.pad(x, pads)
    return x.reshape(x.shape[0], -1, size, *x.shape[2:])

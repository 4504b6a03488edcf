"""Soft alignment in time of two sequences of different rates, such as frames and audio."""

import math
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from mmjax.errors import UserError
from mmjax.nn.layers.attention import split_heads
from mmjax.nn.layers.dense import Dense
from mmjax.nn.layers.masking import zero_masked
from mmjax.nn.layers.pooling import masked_softmax
from mmjax.types import Tokens


class Alignment(NamedTuple):
    """The second sequence at the times of the first, and the matrix that took it there.

    tokens: x [B Q D] = weights @ keys. A query is real if it was and its row has a real key.
    weights: [B Q N] in float32. Rows sum to 1 over the real keys; zeros where there is none, and
        for masked queries.
    """

    tokens: Tokens
    weights: Float[Array, "B Q N"]


def even_times(length: int, duration: float) -> Float[Array, " N"]:
    """The middles of `length` equal parts of a clip of `duration` seconds."""
    return (jnp.arange(length, dtype=jnp.float32) + 0.5) * (duration / length)


def time_scores(
    query_times: Float[Array, "B Q"],
    key_times: Float[Array, "B N"],
    offset: Float[Array, " H"],
    window: Float[Array, " H"],
) -> Float[Array, "B H Q N"]:
    """-((key time - query time - offset) / window)**2 / 2 for each head; all in seconds."""
    distance = key_times[:, None, None, :] - query_times[:, None, :, None]
    return -0.5 * ((distance - offset[:, None, None]) / window[:, None, None]) ** 2


class TemporalAlignment(nn.Module):
    """Resamples a sequence at the times of another by content and time.

    weights = mean over heads of softmax_j(q_i . k_j / sqrt(K) - ((t_j - t_i - o) / s)**2 / 2),
    with a learned offset o and window s for each head, and aligned = weights @ keys. The values are
    the keys themselves, so `weights` is all that happens to them. Queries are projected by zeros at
    initialisation: it starts as interpolation by time (a Gaussian kernel, so not exact at the keys;
    beyond the ends the nearest keys count). By time alone the mean aligned time never goes back
    when a query's time goes on; content may overrule that.

    Cross-attention between sequences that are not aligned is from Tsai et al. 2019
    (https://arxiv.org/abs/1906.00295), the Gaussian window on attention from Luong et al. 2015
    (https://arxiv.org/abs/1508.04025), and the softmax of squared differences of times from
    Donahue et al. 2021 (https://arxiv.org/abs/2006.03575); their sum, as it is here, is no
    published model.

    Attributes:
        width: of the projections that compare content, all heads together.
        heads: number of heads; it divides width.
        window: standard deviation of each head's Gaussian at initialisation, in seconds.
        duration: of the clip in seconds, over which times that are not given are spread evenly.
        dtype: type of the computation; times and softmax are in float32.
    """

    width: int
    heads: int = 4
    window: float = 0.1
    duration: float = 1.0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        queries: Tokens,
        keys: Tokens,
        query_times: Float[Array, "B Q"] | None = None,
        key_times: Float[Array, "B N"] | None = None,
    ) -> Alignment:
        """Aligns keys [B N D] to queries [B Q C].

        Args:
            queries, keys: the two sequences; masked tokens count for nothing.
            query_times, key_times: of each token in seconds, in any order. None: evenly spread.

        Raises:
            UserError: heads that do not divide width, or a window that is not positive.
        """
        if self.heads < 1 or self.width % self.heads or self.window <= 0:
            raise UserError(
                f"{'/'.join(self.path) or 'alignment'}: width {self.width}, {self.heads} heads and"
                f" a window of {self.window} s: choose heads that divide width and a window above 0"
            )
        log_window = nn.initializers.constant(math.log(self.window))
        offset = self.param("offset", nn.initializers.zeros, (self.heads,), jnp.float32)
        window = jnp.exp(self.param("log_window", log_window, (self.heads,), jnp.float32))
        query_times = self._times(query_times, queries)
        key_times = self._times(key_times, keys)
        values = zero_masked(keys.x, keys.mask).astype(self.dtype)
        q = Dense(self.width, False, self.dtype, nn.initializers.zeros, name="q")(
            zero_masked(queries.x, queries.mask)
        )
        k = Dense(self.width, False, self.dtype, name="k")(values)
        q, k = split_heads(q, self.heads), split_heads(k, self.heads)
        scores = jnp.einsum("bhqk,bhnk->bhqn", q, k, preferred_element_type=jnp.float32)
        scores = scores * (q.shape[-1] ** -0.5)
        scores = scores + time_scores(query_times, key_times, offset, window)
        real = queries.mask[:, :, None] & keys.mask[:, None, :]
        heads = masked_softmax(scores, jnp.broadcast_to(real[:, None], scores.shape))
        weights = jnp.mean(heads, axis=1)
        x = jnp.einsum("bqn,bnd->bqd", weights.astype(self.dtype), values)
        return Alignment(Tokens(x, jnp.any(real, axis=2)), weights)

    def _times(self, times: Array | None, tokens: Tokens) -> Array:
        if times is None:
            even = even_times(tokens.mask.shape[1], self.duration)
            return jnp.broadcast_to(even, tokens.mask.shape)
        return jnp.where(tokens.mask, times.astype(jnp.float32), 0.0)

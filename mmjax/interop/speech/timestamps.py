"""The times that Whisper generates between words (Radford et al. 2022, section 2.3), by which a
recording longer than it takes at once is cut into windows."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from mmjax.interop.speech.prompts import Decoding

STRIDE = 2  # frames of 10 ms in a time of 20 ms


class Times(NamedTuple):
    """Which words are times.

    first: of the word for 0.00 s; all later words are times.
    end: of the word that ends a text; those before it are text.
    none: of the word for no times.
    latest_start: as of `prompts.Decoding`.
    """

    first: int
    end: int
    none: int
    latest_start: int | None


def times_of(given: Decoding) -> Times:
    """Of a checkpoint whose `no_timestamps` is not None."""
    none = given.no_timestamps
    return Times(none + 1, given.ends[0], none, given.latest_start)


def allowed(
    logits: Float[Array, "B V"],
    ids: Int[Array, "B length"],
    place: Int[Array, ""],
    first: int,
    times: Times,
) -> Bool[Array, "B V"]:
    """Which words may come at a place of a text with times.

    A text begins with a time. Times come in pairs, the end of a segment and the start of the next,
    but for the first, and for one before the end of the text; they do not decrease. Where all times
    together are likelier than any other word, a time follows.

    Args:
        logits: -inf where a word is barred.
        ids: those so far.
        place: of the next word.
        first: the place behind the prompt.
        times: which words are times.
    """
    words = jnp.arange(logits.shape[1])
    is_time = words >= times.first
    places = jnp.arange(ids.shape[1])
    own = (places >= first) & (places < place)
    latest = jnp.max(jnp.where(own & (ids >= times.first), ids, -1), axis=1)

    def was_time(back: int) -> Bool[Array, " B"]:
        word = jax.lax.dynamic_index_in_dim(ids, place - back, 1, keepdims=False)
        return word >= times.first

    last = was_time(1) & (place > first)
    before = was_time(2) | (place < first + 2)
    closes = last & ~before
    least = jnp.where(latest < 0, times.first, jnp.where(closes, latest, latest + 1))
    free = (logits > -jnp.inf) & (words != times.none)
    free &= ~(is_time & (last & before)[:, None])
    free &= ~((words < times.end) & closes[:, None])
    free &= ~(is_time & (words < least[:, None]))
    start = is_time
    if times.latest_start is not None:
        start &= words <= times.first + times.latest_start
    free &= start | (place > first)
    scores = jnp.where(free, logits.astype(jnp.float32), -jnp.inf)
    timed = jax.nn.logsumexp(jnp.where(is_time, scores, -jnp.inf), axis=1)
    likelier = timed > jnp.max(jnp.where(is_time, -jnp.inf, scores), axis=1)
    return free & (is_time | ~likelier[:, None])


def complete_segments(
    words: Sequence[int], first: int | None, frames: int
) -> tuple[list[int], int]:
    """What is kept of the words of a window, and where the next begins, in frames from its start.

    After the last pair of times another segment has begun, which is whole in the next window. A
    single time at the end means that nothing follows in the window.

    Args:
        words: of the window.
        first: the word for 0.00 s. None: the model has no times.
        frames: of the window.
    """
    is_time = [first is not None and word >= first for word in words]
    pairs = [i for i in range(1, len(words)) if is_time[i - 1] and is_time[i]]
    if first is None or not pairs or is_time[-2:] == [False, True]:
        return list(words), frames
    return list(words[: pairs[-1] + 1]), (words[pairs[-1] - 1] - first) * STRIDE

"""Text from a model that gives the logits of the next id, one id after the other."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

OPEN = -1  # an id of a prompt that is chosen like those after it

Step = Callable[[Array, Any, Any], tuple[Array, Any]]
Choose = Callable[[Array, Array, Any], Array]


def likeliest(
    logits: Float[Array, "B V"], ids: Int[Array, "B length"], position: Int[Array, ""]
) -> Int[Array, " B"]:
    """The id of the highest logit."""
    del ids, position
    return jnp.argmax(logits, axis=1).astype(jnp.int32)


def greedy(
    step: Step,
    cache: Any,
    prompt: Int[Array, "B P"],
    ends: Bool[Array, " V"],
    *,
    length: int,
    choose: Choose = likeliest,
) -> Int[Array, "B length"]:
    """A prompt and what follows it, up to `length` ids, or until every row has ended.

    It traces: call it in a compiled function.

    Args:
        step: (ids [B 1], position, cache) -> logits [B V] of the next id, and the new cache; such
            as `mmjax.backbones.text.decoder.TextDecoder.step`, applied with a mutable cache.
        cache: before the first id, such as {}; from then on it keeps its structure.
        prompt: the first ids, one at least; but for the first, OPEN are chosen, too.
        ends: which ids end a row behind the prompt.
        length: of the prompt and the generated ids.
        choose: (logits [B V], ids [B length] so far, position) -> the ids [B] at that position.

    Returns:
        The prompt and the generated ids; what follows an end has no meaning.
    """
    rows, first = prompt.shape
    given = jnp.pad(prompt, ((0, 0), (0, length - first)))

    def more(state):
        position, _, over, _, _ = state
        return (position < length) & ~jnp.all(over)

    def generate(state):
        position, ids, over, logits, cache = state
        prompted = jax.lax.dynamic_index_in_dim(given, position, 1, keepdims=False)
        own = choose(logits, ids, position)
        word = jnp.where((position < first) & (prompted != OPEN), prompted, own)
        ids = jax.lax.dynamic_update_slice(ids, word[:, None], (0, position))
        over = over | (ends[word] & (position >= first))
        logits, cache = step(word[:, None], position, cache)
        return position + 1, ids, over, logits, cache

    logits, cache = step(given[:, :1], jnp.int32(0), cache)
    start = (jnp.int32(1), given, jnp.zeros(rows, bool), logits, cache)
    return jax.lax.while_loop(more, generate, start)[1]

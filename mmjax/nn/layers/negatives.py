"""Which other example to compare an example with."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray


def hard_negatives(
    key: PRNGKeyArray | None,
    similarities: Float[Array, "B B"],
    *,
    mask: Bool[Array, " B"] | None = None,
    positives: Bool[Array, "B B"] | None = None,
) -> tuple[Int[Array, " B"], Bool[Array, " B"]]:
    """Draws for each row i one j that is not its positive, with probability ~ exp(similarity_ij).

    Args:
        key: of jax.random; None takes the most similar instead.
        similarities: of a[i] and b[j], divided by the temperature. For the other direction give
            the transposes of this and of `positives`.
        mask: [B] whether the example has both; others are not drawn.
        positives: [B B] whether b[j] is right for a[i]; None: where i == j.

    Returns:
        The index j of each row, and whether it is a negative. Where a row is masked or all others
        are positive or masked, it is the row's own index and False: that pair is no negative.

    References:
        Li et al. 2021, https://arxiv.org/abs/2107.07651
    """
    rows = similarities.shape[0]
    mask = jnp.ones(rows, bool) if mask is None else mask
    right = jnp.eye(rows, dtype=bool) if positives is None else positives
    allowed = mask[:, None] & mask & ~right
    logits = jnp.where(allowed, similarities.astype(jnp.float32), -jnp.inf)
    found = jnp.any(allowed, axis=1)
    if key is None:
        chosen = jnp.argmax(logits, axis=1)
    else:
        chosen = jax.random.categorical(key, logits, axis=1)
    return jnp.where(found, chosen, jnp.arange(rows)), found

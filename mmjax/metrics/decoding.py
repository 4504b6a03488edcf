"""From scores for each frame to the labels that they say."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


def best_path(
    logits: Float[Array, "B N V"], mask: Bool[Array, "B N"], *, blank: int = 0
) -> tuple[Int[Array, "B N"], Bool[Array, "B N"]]:
    """The labels of the likeliest path: of equal neighbours one is kept, then blanks go.

    With the blank 0 the frames 3 3 0 3 5 5 0 say 3 3 5. The likeliest labels may be others, since
    their probability is that of all their paths together.

    Args:
        logits: unnormalised scores of V labels for each frame; the lowest wins a tie.
        mask: which frames count; the others are left out, and are between no neighbours.
        blank: the label of a frame that adds nothing.

    Returns:
        The labels from the left, blanks after them; and which places hold one.

    References:
        Graves et al. 2006, https://doi.org/10.1145/1143844.1143891
    """
    best, mask = _to_the_left(jnp.argmax(logits, axis=-1), mask, blank)
    before = jnp.pad(best[:, :-1], ((0, 0), (1, 0)), constant_values=blank)
    return _to_the_left(best, mask & (best != blank) & (best != before), blank)


def _to_the_left(labels, mask, filler):
    """Labels that count first, in their order; `filler` after them."""
    order = jnp.argsort(~mask, axis=1, stable=True)
    mask = jnp.take_along_axis(mask, order, axis=1)
    return jnp.where(mask, jnp.take_along_axis(labels, order, axis=1), filler), mask

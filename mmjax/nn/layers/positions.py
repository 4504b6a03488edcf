"""Where a token of a line stands: the choices of encoders of words and of steps."""

from collections.abc import Callable, Mapping

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mmjax.errors import UserError
from mmjax.nn.layers.embedding import LearnedPositions
from mmjax.nn.layers.options import choose
from mmjax.nn.layers.rotary import line_angles


def sinusoids(length: int, width: int) -> Float[np.ndarray, "N D"]:
    """The fixed positions of Vaswani et al. 2017 (https://arxiv.org/abs/1706.03762).

    Channel 2i of place n is sin(n / 10000**(2i / D)), channel 2i + 1 the cosine of the same.
    """
    channel = np.arange(width)
    angles = np.arange(length)[:, None] / 10_000.0 ** (2 * (channel // 2) / width)
    return np.where(channel % 2 == 0, np.sin(angles), np.cos(angles)).astype(np.float32)


def _turn(x: Array, heads: int) -> tuple[Array, Array]:
    length, width = x.shape[1:]
    if heads < 1 or width % (2 * heads):
        raise UserError(
            f"positions 'rotary': width {width} does not split into {heads} heads of an even width:"
            " choose another number of heads"
        )
    return x, line_angles(length, width // heads)


# From tokens [B N D] and the number of heads: tokens that know their place, and rotary angles.
LINE_POSITIONS: Mapping[str, Callable[[Array, int], tuple[Array, Array | None]]] = {
    "learned": lambda x, _: (LearnedPositions(name="positions")(x), None),
    "none": lambda x, _: (x, None),
    "rotary": _turn,
    "sincos": lambda x, _: (x + jnp.asarray(sinusoids(*x.shape[1:]), x.dtype), None),
}


def place(
    x: Float[Array, "B N D"], positions: str, heads: int
) -> tuple[Float[Array, "B N D"], Float[Array, "N k"] | None]:
    """Tells each token its place in the sequence; call it inside a compact method.

    Places are counted from the start of the array, masked ones included: the same words further to
    the right have other learned and sincos positions. Rotary ones are relative.

    Args:
        x: the tokens.
        positions: "learned" (added; parameters "positions"), "sincos" (fixed, added), "rotary"
            (by the angles) or "none".
        heads: number of attention heads, for rotary positions.

    Returns:
        The tokens, and the angles for the transformer (None but for "rotary").

    Raises:
        UserError: an unknown name, heads of an odd width for rotary positions, or a longer
            sequence than learned positions were made for.
    """
    return choose(LINE_POSITIONS, positions, "positions")(x, heads)

"""What every text encoder does first."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Shaped

from mmjax.encoders.encoder import Encoder
from mmjax.errors import UserError


class TextEncoder(Encoder):
    """An encoder of word ids; its `encode` gets the ids as they are, and which are real.

    Attributes:
        vocabulary_size: V, number of word ids.
    """

    vocabulary_size: int = 1000

    def prepared(
        self, value: Shaped[Array, "B L"], mask: Bool[Array, "B L"] | None, _: bool
    ) -> tuple[Shaped[Array, "B L"], Bool[Array, "B L"]]:
        """Word ids [B L] and which words are real.

        Raises:
            UserError: not integer ids.
        """
        if not jnp.issubdtype(value.dtype, jnp.integer):
            raise UserError(
                f"text: expected integer word ids, got {value.dtype}: tokenize it first"
            )
        return value, jnp.ones(value.shape, bool) if mask is None else mask

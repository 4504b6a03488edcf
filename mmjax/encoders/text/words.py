"""What every text encoder does first."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Shaped

from mmjax.errors import UserError


def real_words(value: Shaped[Array, "B L"], mask: Bool[Array, "B L"] | None) -> Bool[Array, "B L"]:
    """`mask`, or all True if there is none.

    Raises:
        UserError: the text is not word ids.
    """
    if not jnp.issubdtype(value.dtype, jnp.integer):
        raise UserError(f"text: expected integer word ids, got {value.dtype}: tokenize it first")
    return jnp.ones(value.shape, bool) if mask is None else mask

"""What is masked contributes exactly nothing: the one place where content is cut off."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def zero_masked(x: Float[Array, "*rows D"], mask: Bool[Array, "*rows"]) -> Float[Array, "*rows D"]:
    """`x` where `mask` is True, exact zeros elsewhere, whatever `x` holds there (NaN included).

    The gradient with respect to the masked content is exactly zero.
    """
    return jnp.where(mask[..., None], x, jnp.zeros((), x.dtype))

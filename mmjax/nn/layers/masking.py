"""What is masked contributes exactly nothing: the one place where content is cut off."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

# The logit, or the logarithm of a mass, of what does not count; finite, so that no gradient is NaN.
NEG_INF = -1e30


def zero_masked(x: Float[Array, "*rows D"], mask: Bool[Array, "*rows"]) -> Float[Array, "*rows D"]:
    """`x` where `mask` is True, exact zeros elsewhere, whatever `x` holds there (NaN included).

    The gradient with respect to the masked content is exactly zero.
    """
    return jnp.where(mask[..., None], x, jnp.zeros((), x.dtype))

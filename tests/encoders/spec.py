"""What the contract tests of encoders need to know of each one."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

WIDTH, ROWS = 64, 4


class Spec(NamedTuple):
    """One configuration of an encoder.

    constructor: called with a width and `options`.
    data: seed -> (value, mask), numpy arrays of ROWS rows, some of them partly or wholly masked.
    large: (value, mask) as shapes: the largest input that anybody would use.
    options: of this configuration; large_options: besides, of the largest size.
    tolerance: largest distance of bfloat16 from float32, in units of the largest output.
    """

    constructor: Callable[..., Any]
    data: Callable[[int], tuple[np.ndarray, np.ndarray]]
    large: tuple[jax.ShapeDtypeStruct, jax.ShapeDtypeStruct]
    options: Mapping[str, Any] = {}
    large_options: Mapping[str, Any] = {}
    tolerance: float = 0.03


def shapes(dtype: Any, *value: int, mask: tuple[int, ...]) -> tuple[jax.ShapeDtypeStruct, ...]:
    """A large input by its shapes."""
    return jax.ShapeDtypeStruct(value, dtype), jax.ShapeDtypeStruct(mask, bool)


LARGE_IMAGE = shapes(jnp.uint8, 4096, 224, 224, 3, mask=(4096,))
LARGE_TEXT = shapes(jnp.int32, 4096, 512, mask=(4096, 512))


def image(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Pictures, and which of them are there."""
    value = np.random.default_rng(seed).integers(0, 256, (ROWS, 16, 16, 3), np.uint8)
    return value, np.array([True, False, True, False])


def text(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Word ids, and which are real: a full row, a padded one, an empty one, one with gaps."""
    value = np.random.default_rng(seed).integers(0, 1000, (ROWS, 5), np.int32)
    mask = np.array([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [0, 0, 0, 0, 0], [0, 1, 0, 1, 1]], bool)
    return value, mask


def recomputed_blocks(function: Callable[..., Any], *values: Any) -> int:
    """How many parts of a program, with matrix products in them, run again in its backward pass."""
    equations = jax.make_jaxpr(function)(*values).eqns
    again = [equation for equation in equations if "remat" in equation.primitive.name]
    return sum("dot_general" in str(equation) for equation in again)


def images(side: int = 16, rows: int = 2) -> jax.Array:
    """Pictures."""
    values = np.random.default_rng(0).integers(0, 256, (rows, side, side, 3), np.uint8)
    return jnp.asarray(values)


def shapes_of(encoder: nn.Module, side: int = 64) -> tuple[Any, Any]:
    """The shapes of tokens and variables for pictures of this side."""
    value = jax.ShapeDtypeStruct((2, side, side, 3), jnp.uint8)
    return jax.eval_shape(encoder.init_with_output, jax.random.key(0), value)

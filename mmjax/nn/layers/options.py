"""Named choices: the tables behind every option that is a word."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import jax
import jax.numpy as jnp

from mmjax.errors import UserError

Choice = TypeVar("Choice")


@jax.checkpoint
def gelu_exact(x: Any) -> Any:
    """x Phi(x) (Hendrycks and Gimpel 2016, https://arxiv.org/abs/1606.08415), by erf.

    `jax.nn.gelu` takes erfc, which costs three times as much on a CPU and differs by rounding.
    """
    wide = jnp.asarray(x, jnp.promote_types(x.dtype, jnp.float32))
    return (0.5 * wide * (1.0 + jax.lax.erf(wide * 0.5**0.5))).astype(x.dtype)


@jax.checkpoint
def _quick_gelu(x):
    return x * jax.nn.sigmoid(1.702 * x)


# With `checkpoint`, those of several steps keep their input for the backward pass, and no step's
# result: in a transformer, one fewer of the widest arrays.
ACTIVATIONS: Mapping[str, Callable[[Any], Any]] = {
    "gelu": jax.checkpoint(jax.nn.gelu),  # the tanh approximation
    "gelu_exact": gelu_exact,
    "identity": lambda x: x,
    "leaky_relu": jax.nn.leaky_relu,
    "quick_gelu": _quick_gelu,  # as in OpenAI's CLIP
    "relu": jax.nn.relu,
    "relu6": jax.nn.relu6,
    "sigmoid": jax.nn.sigmoid,
    "silu": jax.checkpoint(jax.nn.silu),
    "tanh": jax.nn.tanh,
}


INITIALISERS: Mapping[str, Callable] = {
    "glorot_uniform": jax.nn.initializers.glorot_uniform(),
    "lecun_normal": jax.nn.initializers.lecun_normal(),
}


def choose(table: Mapping[str, Choice], name: str, option: str) -> Choice:
    """The entry of `table` called `name`.

    Args:
        table: what may be chosen, by name.
        name: the user's choice.
        option: the name of the option, for the message.

    Raises:
        UserError: `table` has no such name.
    """
    if name not in table:
        raise UserError(f"unknown {option} {name!r}: choose one of {', '.join(sorted(table))}")
    return table[name]


def activation(name: str) -> Callable[[Any], Any]:
    """The elementwise function called `name`; raises UserError for a name not in ACTIVATIONS."""
    return choose(ACTIVATIONS, name, "activation")


def initialiser(name: str) -> Callable[..., Any]:
    """The initialiser of kernels called `name`; raises UserError if it is not in INITIALISERS."""
    return choose(INITIALISERS, name, "kernel_init")


def shared(module: Any, kind: type) -> dict[str, Any]:
    """The attributes of a module that modules of another kind have, too, by name."""
    names, own = ({field.name for field in dataclasses.fields(part)} for part in (kind, module))
    return {name: getattr(module, name) for name in (names & own) - {"name", "parent"}}

"""The switch between the plain definitions of layers and their fast forms."""

import contextlib
import contextvars
import os
from collections.abc import Callable, Iterator
from typing import Any

import jax

_enabled = contextvars.ContextVar("enabled", default=os.environ.get("MMJAX_KERNELS") != "0")


@contextlib.contextmanager
def use(enabled: bool) -> Iterator[None]:
    """In a `with use(False):`, layers are their plain definitions on every platform.

    Otherwise a program for a CPU holds fast forms, whose derivatives are written out: in reverse
    only, as often as wanted. Forward mode (`jax.jvp`, `jax.jacfwd`, `jax.hessian`) needs the plain
    definitions, and so does whoever wants the same operations everywhere. Results differ by
    rounding only. MMJAX_KERNELS=0 in the environment makes the plain ones the default.

    The switch is read when a function is traced: what `jax.jit` has traced before stays as it was,
    so make and call the jitted function within the `with`.
    """
    token = _enabled.set(enabled)
    try:
        yield
    finally:
        _enabled.reset(token)


def dispatch(*args: Any, default: Callable, **fast: Callable) -> Any:
    """default(*args), computed by fast["cpu"] in a program for a CPU, and so on.

    The platform is the one that is lowered for, whatever the process runs on; a program holds the
    form of its platform only.

    Args:
        args: arrays, or trees of them.
        default: the plain definition.
        fast: by the names of platforms, functions that give the same but for rounding.
    """
    if not fast or not _enabled.get():
        return default(*args)
    return jax.lax.platform_dependent(*args, default=default, **fast)

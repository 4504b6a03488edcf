"""What the contract tests of fusions need to know of each one."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

WIDTH = 64


class Spec(NamedTuple):
    """One configuration of a fusion.

    constructor: called with a width and `options`.
    options: of this configuration; large_options: besides, of the largest size.
    tolerance: largest distance of bfloat16 from float32, in units of the largest output.
    """

    constructor: Callable[..., Any]
    options: Mapping[str, Any] = {}
    large_options: Mapping[str, Any] = {}
    tolerance: float = 0.03

"""Parameters of blocks apart, block_0/..., or stacked along a first axis, block/...: both ways.

These are the two forms in which a transformer has them, without and with `scan`.
"""

import re
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from mmjax.nn.layers.transformer import SCANNED

Path = tuple[str, ...]
_NUMBERED = re.compile(rf"{SCANNED}_(\d+)")


def in_form_of(wanted: Collection[Path], given: Mapping[Path, Any]) -> dict[Path, Any]:
    """Arrays by path, with blocks stacked or apart as the paths that are wanted have them.

    Args:
        wanted: paths.
        given: arrays; what is wanted as it is, or has no other form there, stays as it is.
    """
    found = dict(given)
    for path in wanted:
        if path in given:
            continue
        for depth, name in enumerate(path):
            numbered = _NUMBERED.fullmatch(name)
            if name == SCANNED:
                parts = _apart(given, path, depth)
                if parts:
                    found[path] = np.stack([np.asarray(given[part]) for part in parts])
                    for part in parts:
                        found.pop(part)
            elif numbered:
                whole = (*path[:depth], SCANNED, *path[depth + 1 :])
                if whole in given and int(numbered[1]) < len(given[whole]):
                    found[path] = np.asarray(given[whole])[int(numbered[1])]
                    found.pop(whole, None)
    return found


def _apart(given: Mapping[Path, Any], path: Path, depth: int) -> list[Path]:
    """The paths of one array in block_0, block_1, ..., as far as they are there."""
    parts: list[Path] = []
    while (part := (*path[:depth], f"{SCANNED}_{len(parts)}", *path[depth + 1 :])) in given:
        parts.append(part)
    return parts

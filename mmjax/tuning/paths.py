"""Places in a model, by path: 'encoders_text/transformer/block_0/attention/qkv'."""

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax
from jaxtyping import Array

from mmjax.errors import UserError

ENCODERS = "^encoders_"
# All else, and the layer behind a pretrained encoder, which is new.
NOT_ENCODERS = "^(?!encoders_)|^encoders_[^/]+/to_width/"
Tree = Mapping[str, Any]  # nested, with arrays, shapes or the like at its leaves
Sites = dict[str, Any]  # what a tuning must know of each place that it may change, by path


def names_of(params: Tree) -> list[str]:
    """The paths of all parameters, in their order in the tree."""
    return [_name(path) for path, _ in jax.tree_util.tree_leaves_with_path(params)]


def _name(path: Sequence[Any]) -> str:
    return "/".join(key.key for key in path)


def map_named(function: Any, params: Tree) -> Any:
    """function(path, parameter) of each parameter."""
    return jax.tree_util.tree_map_with_path(lambda path, x: function(_name(path), x), params)


def join(*parts: str) -> str:
    """Parts of a path as one; the model itself is ''."""
    return "/".join(part for part in parts if part)


def at(tree: Tree, name: str) -> Tree | Array | None:
    """What a nested tree has at a path; None if it ends before."""
    for key in name.split("/") if name else ():
        if not isinstance(tree, Mapping) or key not in tree:
            return None
        tree = tree[key]
    return tree


def chosen(names: Sequence[str], pattern: str, what: str) -> list[str]:
    """The names that a regular expression finds a match in.

    Raises:
        UserError: there is none, or nothing to choose from; `what` says what is looked for.
    """
    found = [name for name in names if re.search(pattern, name)]
    if found:
        return found
    if not names:
        raise UserError(f"tuning: the model has no {what}; choose another tuning")
    near = difflib.get_close_matches(pattern, names, n=3, cutoff=0.0)
    raise UserError(
        f"tuning: {pattern!r} matches no {what}; of {len(names)} the nearest are {', '.join(near)}"
    )

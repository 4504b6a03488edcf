"""Which parameters train, how fast, and from which step on: trees of the form of the parameters."""

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import optax

from mmjax.errors import UserError

Params = Any  # arrays, shapes or the like, by name
ENCODER = re.compile(r"(?:^|/)(encoders_[^/]+)/(.*)")
BLOCK = re.compile(r"(?:^|/)(?:stage_(\d+)_)?(?:block|layer)_(\d+)(?:/|$)")
# What closes an encoder, beside its blocks or above.
CLOSING = (
    *("norm", "class_norm", "mean_norm", "projection", "projector", "to_width", "pooler", "head"),
    *("classifier", "logits"),
)


class Base(NamedTuple):
    """Parameters that checkpoints leave out, since a file elsewhere holds them.

    keeps: True where checkpoints hold the parameter; all that train are among these.
    read: () -> what they leave out, or more, nested as the parameters.
    """

    keeps: Params
    read: Callable[[], Params]


def path_name(path) -> str:
    """A parameter's path as a string: 'encoders_image/blocks_0/mlp/kernel'."""
    return "/".join(str(getattr(key, "key", key)) for key in path)


def names_of(params: Params) -> list[str]:
    """The paths of all parameters."""
    return [path_name(path) for path, _ in jax.tree_util.tree_leaves_with_path(params)]


def matching(params: Params, patterns: Sequence[str], where: str) -> Params:
    """True where a parameter's path matches one of the regular expressions (`re.search`).

    Raises:
        UserError: a pattern is not a regular expression, or matches no parameter; `where` is the
            config key.
    """
    names = names_of(params)
    for pattern in patterns:
        try:
            matched = any(re.search(pattern, name) for name in names)
        except re.error as error:
            raise UserError(f"{where}: {pattern!r} is no regular expression: {error}") from error
        if not matched:
            raise UserError(
                f"{where}: {pattern!r} matches no parameter; parameters are named like {names[0]!r}"
            )

    def matches(path, _):
        return any(re.search(pattern, path_name(path)) for pattern in patterns)

    return jax.tree_util.tree_map_with_path(matches, params)


def _is_masked(x: Any) -> bool:
    return isinstance(x, optax.MaskedNode)


def select(params: Params, trains: Params | None) -> Params:
    """The parameters that train; the others' places hold nothing. None: all of them."""
    if trains is None:
        return params
    return jax.tree.map(lambda p, t: p if t else optax.MaskedNode(), params, trains)


def map_selected(function: Callable, selected: Params, params: Params) -> Params:
    """function(a, p) of what was selected and the parameter in its place."""
    return jax.tree.map(
        lambda a, p: a if _is_masked(a) else function(a, p), selected, params, is_leaf=_is_masked
    )


def fill(selected: Params, params: Params) -> Params:
    """What was selected, and the parameters where there is nothing."""
    if not any(map(_is_masked, jax.tree.leaves(selected, is_leaf=_is_masked))):
        return selected
    return jax.tree.map(
        lambda a, p: p if _is_masked(a) else a, selected, params, is_leaf=_is_masked
    )


def to_restore(params: Params, trains: Params | None, *, ema: bool) -> dict[str, Params]:
    """By field of the state what evaluation reads of a checkpoint.

    The moving average, if there is one, is of what trains only; the rest is in the parameters.
    """
    if not ema:
        return {"params": params}
    average = {"ema_params": select(params, trains)}
    return average if trains is None else {"params": params} | average


def layer_factors(params: Params, decay: float) -> Params:
    """The factor of each parameter's learning rate, as in BEiT (https://arxiv.org/abs/2106.08254).

    In an encoder of L blocks, named block_N or layer_N, block i has decay^(L - i) and what comes
    before the blocks decay^(L + 1). What closes the encoder (see CLOSING) and all that is in no
    encoder has 1, as has an encoder without blocks. What a tuning adds to a module goes with it.

    Raises:
        UserError: no encoder has a block, or one has all blocks in one array.
    """
    names = names_of(params)
    inside = {name: found for name in names if (found := ENCODER.search(name))}
    blocks: dict[str, set] = {}
    above: dict[str, set] = {}  # paths in an encoder that blocks are below
    for found in inside.values():
        if block := BLOCK.search(found[2]):
            blocks.setdefault(found[1], set()).add(_number(block))
            parents = found[2][: block.start()].split("/")
            prefixes = {"/".join(parents[:i]) for i in range(len(parents) + 1)}
            above.setdefault(found[1], set()).update(prefixes)
    if not blocks:
        raise UserError(
            "config.optimizer.layer_decay: no encoder has parameters named block_N or layer_N;"
            " leave it at 1.0"
        )
    stacked = [name for name, found in inside.items() if "block" in found[2].split("/")]
    if stacked:
        raise UserError(
            f"config.optimizer.layer_decay: {stacked[0]} is of all blocks at once (scan=True): set"
            " scan=False, or leave it at 1.0"
        )
    order = {encoder: sorted(numbers) for encoder, numbers in blocks.items()}

    def factor(path, _) -> float:
        found = inside.get(path_name(path))
        if not found or found[1] not in order:
            return 1.0
        numbers = order[found[1]]
        if block := BLOCK.search(found[2]):
            return decay ** (len(numbers) - numbers.index(_number(block)))
        parts = found[2].split("/")
        closes = any(
            part in CLOSING and "/".join(parts[:i]) in above[found[1]]
            for i, part in enumerate(parts)
        )
        return 1.0 if closes else decay ** (len(numbers) + 1)

    return jax.tree_util.tree_map_with_path(factor, params)


def _number(block: re.Match) -> tuple[int, int]:
    return int(block[1] or 0), int(block[2])


def first_updates(params: Params, unfreeze: Any, accumulate: int = 1) -> Params:
    """The update with which each parameter starts to train: 0 unless a pattern says otherwise.

    Args:
        unfreeze: a table, or pairs, of regular expressions on paths and the step from which what
            they match trains. Of several that match, the last one counts.
        accumulate: steps for one update.

    Raises:
        UserError: it is not that, or a pattern matches nothing.
    """
    where = "config.optimizer.unfreeze"
    pairs = list(unfreeze.items() if hasattr(unfreeze, "items") else unfreeze)
    for pair in pairs:
        is_pair = isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[0], str)
        if not is_pair or type(pair[1]) is not int or pair[1] < 0:
            raise UserError(f"{where}: {pair!r}: give a pattern and a step: ('^heads', 100)")
    first = jax.tree.map(lambda _: 0, params)
    for pattern, step in pairs:
        update = -(-step // accumulate)
        chosen = matching(params, (pattern,), where)
        first = jax.tree.map(lambda f, c, u=update: u if c else f, first, chosen)
    return first

"""What of a config may change when a run is started again in its workdir, and what may not."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mmjax.errors import UserError


class Change(NamedTuple):
    """A key of a config, what it was in the run so far, and what it is now."""

    key: str
    before: Any
    now: Any


def _always(_: Any, __: Any) -> bool:
    return True


def _both_on(before: Any, now: Any) -> bool:
    return before != 0 and now != 0  # None is a default, and none of these is 0


# Keys, and what is inside them, that may change; those where it depends on the values say when.
CHANGEABLE: Mapping[str, Callable[[Any, Any], bool]] = {
    # Where and how fast.
    "compilation_cache": _always,
    "data.cache": _always,
    "data.dir": _always,
    "data.prefetch": _always,
    "data.threads": _always,
    "data.workers": _always,
    "mesh": _always,
    "parallel": _always,
    # How long, and what is said and kept on the way.
    "metrics": _always,
    "train.checkpoint_every": _always,
    "train.eval_every": _always,
    "train.keep": _always,
    "train.log_every": _always,
    "train.max_skipped": _always,
    "train.patience": _always,
    "train.steps": _always,
    # The size of updates from here on. Whether there is clipping or an average is in the state.
    "optimizer.clip_norm": _both_on,
    "optimizer.ema": _both_on,
    "optimizer.end_factor": _always,
    "optimizer.learning_rate": _always,
    "optimizer.options.b1": _always,
    "optimizer.options.b2": _always,
    "optimizer.options.eps": _always,
    "optimizer.options.momentum": _both_on,
    "optimizer.options.weight_decay": _always,
    "optimizer.schedule": _always,
    "optimizer.warmup_steps": _always,
}
# Why the rest may not, by the first of these that a key is inside.
FIXED: Mapping[str, str] = {
    "data": "the run would go on with other data than its position and labels are of",
    "init_from": "it says how a run starts, and this one has begun",
    "optimizer": "the state of the optimizer would not fit",
    "seed": "the order of the data and all random numbers follow it",
    "train.delta_checkpoints": "its checkpoints hold other arrays",
    "train.mode": "the best checkpoint so far was chosen by it",
    "train.monitor": "the best checkpoint so far was chosen by it",
    "tuning": "the checkpoints hold other arrays",
    "weighting": "the state of the weighting would not fit",
}
# What came later and is not by default as it was before: a run that was written without one goes on
# as it began, whatever is said now.
LATER = ("data.scale_features",)
_OTHER_MODEL = "the run would go on with another model or another task"
# What the learning rate of each step follows.
SCHEDULE = ("learning_rate", "schedule", "warmup_steps", "end_factor")
SCHEDULED = ("train.steps", *(f"optimizer.{key}" for key in SCHEDULE))


def between(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[Change]:
    """How two configs, given as plain nested dictionaries, differ, by key in order."""
    old, new = _flat(before), _flat(now)
    keys = sorted(old.keys() | new.keys())
    found = [Change(k, old.get(k), new.get(k)) for k in keys if old.get(k) != new.get(k)]
    # A table that was empty and is not any more shows in what it now holds.
    return [c for c in found if not any(k.startswith(f"{c.key}.") for k in keys)]


def check(changes: Sequence[Change], workdir: str | Path) -> None:
    """Raises a UserError for the first change that a run cannot go on with."""
    barred = [change for change in changes if not _is_free(change)]
    if not barred:
        return
    key, before, now = barred[0]
    inside = (key[: len(prefix)] for prefix in FIXED if _within(key, prefix))
    reason = FIXED.get(next(inside, ""), _OTHER_MODEL)
    more = f" ({len(barred)} differences)" if len(barred) > 1 else ""
    raise UserError(
        f"--workdir={workdir} belongs to another config: {key} is {before!r} there and {now!r}"
        f" here{more}; {reason}. Choose another --workdir; --config.init_from={workdir} starts"
        " there from what this run learned"
    )


def _is_free(change: Change) -> bool:
    allowed = (may for key, may in CHANGEABLE.items() if _within(change.key, key))
    return any(may(change.before, change.now) for may in allowed)


def _within(key: str, prefix: str) -> bool:
    return key == prefix or key.startswith(f"{prefix}.")


def came_later(key: str, stored: Mapping[str, Any]) -> bool:
    """Whether a stored config lacks a key of LATER, since an older version wrote it."""
    return key in LATER and key not in _flat(stored)


def _flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(tree, Mapping) and tree:
        items = [_flat(v, f"{prefix}.{k}" if prefix else k) for k, v in tree.items()]
        return {key: value for item in items for key, value in item.items()}
    return {prefix: tree}

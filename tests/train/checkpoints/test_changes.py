"""What of a config may change when a run is started again, and what is said of the rest."""

import copy

import pytest

from mmjax import cli
from mmjax.errors import UserError
from mmjax.factory.config.keys import KEYS
from mmjax.factory.config.stored import completed
from mmjax.train.checkpoints import changes
from tests.commands import ROOT

FUSION = f"{ROOT}/configs/fusion.py:tiny"
MAY_CHANGE = {
    *("compilation_cache", "data.cache", "data.dir", "data.prefetch", "data.threads"),
    *("data.workers", "mesh.data", "mesh.fsdp", "mesh.tensor", "metrics", "optimizer.clip_norm"),
    *("optimizer.end_factor", "optimizer.learning_rate", "optimizer.schedule"),
    *("optimizer.warmup_steps", "parallel", "train.checkpoint_every", "train.eval_every"),
    *("train.keep", "train.log_every", "train.max_skipped", "train.patience", "train.steps"),
}
OTHER = {int: 7, float: 0.25, bool: None, str: "another", tuple[str, ...]: ("other",)}


@pytest.mark.parametrize("key", KEYS)
def test_what_may_change_and_what_may_not(key):
    before = completed(cli.load_config(FUSION).to_dict())
    now = copy.deepcopy(before)
    group, _, name = key.rpartition(".")
    node = now[group] if group else now
    value = OTHER.get(KEYS[key].kind, {"name": "other"})
    node[name] = (not node.get(name, False)) if value is None else value
    found = changes.between(before, now)
    assert {c.key for c in found} >= {key} or all(c.key.startswith(f"{key}.") for c in found)
    assert found
    if key in MAY_CHANGE:
        changes.check(found, "runs/a")
    else:
        with pytest.raises(UserError, match=r"belongs to another config.*init_from=runs/a"):
            changes.check(found, "runs/a")


@pytest.mark.parametrize(
    ("key", "before", "now", "words"),
    [
        ("optimizer.clip_norm", 0.0, 1.0, "state of the optimizer"),
        ("optimizer.clip_norm", 1.0, 0.0, "state of the optimizer"),
        ("optimizer.clip_norm", 1.0, 2.0, None),
        ("optimizer.options.momentum", 0.9, 0.0, "state of the optimizer"),
        ("optimizer.options.momentum", None, 0.5, None),
        ("train.monitor", "a", "b", "best checkpoint"),
        ("init_from", "", "x", "this one has begun"),
        ("width", 8, 16, "another model"),
    ],
)
def test_some_changes_depend_on_the_values_and_the_rest_say_why(key, before, now, words):
    change = [changes.Change(key, before, now)]
    if words is None:
        changes.check(change, "runs/a")
    else:
        with pytest.raises(UserError, match=words):
            changes.check(change, "runs/a")

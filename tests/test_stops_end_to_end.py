"""A run that is stopped anywhere and resumed leaves what one in one piece leaves."""

import json
import runpy

from mmjax import factory
from mmjax.train.reporting.writers import read_metrics
from tests import restart
from tests.commands import ROOT


def test_every_line_of_the_log_is_the_same(tmp_path):
    """On four devices, with accumulated gradients, a moving average, whole-set metrics, tuning."""
    config = runpy.run_path(str(ROOT / "configs" / "fusion.py"))["get_config"]("tags")
    config.mesh, config.data.batch_size = {"data": 4}, 16
    config.data.options = {**config.data.options, "train": 256, "validation": 32, "test": 32}
    config.train.update({"steps": 9, "log_every": 4, "eval_every": 7})
    config.optimizer.update({"ema": 0.9, "accumulate": 2, "warmup_steps": 1})
    config = factory.as_config(json.loads(config.to_json()))
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    restart.start(config, whole)
    restart.start(config, parts, stop=3)
    restart.start(config, parts)
    lines = [
        [
            {k: v for k, v in r.items() if not k.endswith(("per_sec", "data_wait"))}
            for r in read_metrics(workdir)
        ]
        for workdir in (parts, whole)
    ]
    assert lines[0] == lines[1]
    assert [r["step"] for r in lines[0]] == [4, 7, 8, 9, 9]
    assert len(lines[0][0]) > 4
    restart.assert_same_checkpoint(parts, whole, 9)
    assert (parts / "tuned.json").read_text() == (whole / "tuned.json").read_text()

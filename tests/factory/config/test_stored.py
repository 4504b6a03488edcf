"""Stored configs of older versions: keys and arrays have the names of today."""

from ml_collections import ConfigDict

from mmjax import cli
from mmjax.factory.config.stored import completed
from tests.commands import ROOT

LOSSES = {"a": {"name": "gan_generator", "fake": "generator_score/text"}, "cross_entropy": {}}


def test_old_names_of_keys_and_arrays_are_those_of_today():
    now = cli.load_config(f"{ROOT}/configs/fusion.py:tiny")
    now.losses = ConfigDict(LOSSES)
    now.losses.cross_entropy.labels = "batch/targets/label"
    now.train.delta_checkpoints = True
    old = now.to_dict()
    del old["train"]["delta_checkpoints"]
    old["train"]["adapter_only"] = True
    old["losses"]["a"]["fake"] = "fooling/text"
    old["losses"]["cross_entropy"]["labels"] = "batch/label"
    assert completed(old) == completed(now.to_dict())
    assert completed(old)["train"]["delta_checkpoints"] is True
    assert completed(old)["losses"]["a"]["fake"] == "generator_score/text"

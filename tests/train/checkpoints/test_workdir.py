from concurrent.futures import ThreadPoolExecutor

import pytest

from mmjax.errors import UserError
from mmjax.train.checkpoints import workdir

CONFIG = {"a": {"b": (1, 2)}, "data": {"dir": "x", "name": "n"}, "empty": {}}


def test_the_same_config_may_come_again_and_another_may_not(tmp_path):
    workdir.open_workdir(tmp_path / "run", {"another": "config"})
    (workdir.open_workdir(tmp_path / "run", CONFIG) / "checkpoints" / "1").mkdir(parents=True)
    workdir.open_workdir(tmp_path / "run", CONFIG)
    moved = CONFIG | {"data": {"dir": "elsewhere", "name": "n"}}
    path = workdir.open_workdir(tmp_path / "run", moved)
    assert workdir.read_json(path / "config.json")["data"]["dir"] == "elsewhere"
    with pytest.raises(
        UserError, match=r"belongs to another config: data.name is 'n' there and 'm'"
    ):
        workdir.open_workdir(tmp_path / "run", CONFIG | {"data": {"dir": "x", "name": "m"}})


def test_a_directory_with_other_things_is_not_taken(tmp_path):
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(UserError, match="not empty"):
        workdir.open_workdir(tmp_path, CONFIG)
    with pytest.raises(UserError, match="not a directory"):
        workdir.open_workdir(tmp_path / "thesis.tex", CONFIG)


def test_several_processes_claim_one_directory_at_once(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        for attempt in range(20):
            path = tmp_path / str(attempt)
            assert list(pool.map(workdir.open_workdir, [path] * 8, [CONFIG] * 8)) == [path] * 8
    (tmp_path / "cut short").mkdir()
    (tmp_path / "cut short" / "config.json.0a1b2c3d.part").write_text("{")
    workdir.open_workdir(tmp_path / "cut short", CONFIG)


def test_a_missing_or_broken_file_is_named(tmp_path):
    with pytest.raises(UserError, match="config.json"):
        workdir.read_json(tmp_path / "config.json")
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(UserError, match="not JSON"):
        workdir.read_json(tmp_path / "config.json")

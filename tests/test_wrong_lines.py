"""Hundreds of wrong command lines: each ends with exit code 2 and one line, and leaves nothing."""

from pathlib import Path

import pytest

from mmjax import cli, convert, main, predict
from mmjax.factory.config.keys import KEYS
from tests.interop import fakes
from tests.wrong_lines import ARGUMENTS, LATER, VALUES

ROOT = Path(__file__).parent.parent
FUSION = f"--config={ROOT}/configs/fusion.py:tiny"
SMALL = [f"--config.data.options.{split}=64" for split in ("train", "validation", "test")]


def fail(capsys, function, *argv):
    """Runs a command line that must fail; gives back its one line."""
    with pytest.raises(SystemExit) as caught:
        cli.run(function, ["program", *argv])
    said = capsys.readouterr()
    lines = said.err.strip().splitlines()
    assert caught.value.code == 2
    assert len(lines) == 1, lines
    assert lines[0].startswith("mmjax: ")
    assert len(lines[0]) > len("mmjax: ") + 10
    assert said.out == ""
    return lines[0]


def test_the_table_of_wrong_values_has_every_key():
    assert set(VALUES) == set(KEYS)


@pytest.mark.parametrize("key", [key for key in VALUES if VALUES[key]])
def test_a_wrong_value_of_a_key_is_explained_before_anything_starts(
    capsys, tmp_path, monkeypatch, key
):
    monkeypatch.chdir(ROOT)
    for value in VALUES[key]:
        arguments = [FUSION, f"--workdir={tmp_path}/run", *SMALL, f"--config.{key}={value}"]
        line = fail(capsys, main.main, "--config.compilation_cache=", *arguments)
        # What is wrong with a part or a name is said where it is.
        assert key.partition(".")[0] in line, (value, line)
        if key not in ("init_from", "tuning", "mesh.data", "mesh.fsdp", "mesh.tensor"):
            assert not (tmp_path / "run").exists(), value


@pytest.mark.parametrize(("arguments", "words"), ARGUMENTS, ids=lambda x: str(x)[:60])
def test_a_wrong_argument_is_explained(capsys, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(ROOT)
    cache = [a for a in arguments if "cache" in a] or ["--config.compilation_cache="]
    line = fail(capsys, main.main, FUSION, f"--workdir={tmp_path}/run", *cache, *arguments)
    assert words in line


@pytest.mark.parametrize(("arguments", "words"), LATER, ids=lambda x: str(x)[:60])
def test_what_only_data_and_model_tell_is_explained_before_training(
    capsys, tmp_path, arguments, words
):
    given = [FUSION, f"--workdir={tmp_path}/run", "--config.compilation_cache=", *SMALL]
    assert words in fail(capsys, main.main, *given, *arguments)
    assert not (tmp_path / "run" / "checkpoints").exists()


BASE = "from ml_collections import ConfigDict\n"
FILES = [
    ("", "get_config"),
    ("get_config = 3", "get_config"),
    ("get_config = None", "get_config"),
    ("def get_config(v=''): return None", "gives None"),
    ("def get_config(v=''): pass", "gives None"),
    ("def get_config(v=''): return {'seed': 0}", "gives a dict"),
    ("def get_config(v=''): return 'vqa'", "gives a str"),
    ("def get_config(v=''): return ConfigDict", "gives a type"),
    ("def get_config(): return ConfigDict()", None),
    ("def get_config(a, b): return ConfigDict()", "get_config does not take no variant"),
    ("def get_config(*, v): return ConfigDict()", "get_config does not take no variant"),
    ("def get_config(v): return ConfigDict()", "write FILE.py:VARIANT"),
    (
        "def get_config(v=''): raise ValueError('so\\nsaid')",
        "line 2 does not run: ValueError: so said",
    ),
    ("def get_config(v=''): return ConfigDict()['x']", "KeyError"),
    ("def get_config(v=''): raise SystemExit(3)", "SystemExit"),
    ("def get_config(v=''): 1 / 0", "ZeroDivisionError"),
    ("def get_config(v=''): return undefined", "undefined"),
    ("def get_config(v='') return 3", "SyntaxError"),
    ("import nothing_of_that_name", "nothing_of_that_name"),
    ("raise SystemExit", "SystemExit"),
    ("def get_config(v=''): return ConfigDict()", "config.modalities is missing"),
    ("def get_config(v=''): return ConfigDict({'train': 3})", "is missing"),
    ("def get_config(v=''): return ConfigDict({'sede': 3})", "did you mean 'seed'"),
]


@pytest.mark.parametrize(("source", "words"), FILES, ids=[f[0][:60] for f in FILES])
def test_a_config_file_that_gives_no_config_is_explained(capsys, tmp_path, source, words):
    (tmp_path / "own.py").write_text(BASE + source)
    line = fail(capsys, main.main, f"--config={tmp_path}/own.py", f"--workdir={tmp_path}/run")
    assert (words or "config.") in line
    assert not (tmp_path / "run").exists()


def test_a_variant_that_a_config_file_cannot_take_is_explained(capsys, tmp_path):
    (tmp_path / "own.py").write_text(BASE + "def get_config(): return ConfigDict()")
    line = fail(capsys, main.main, f"--config={tmp_path}/own.py:tiny", f"--workdir={tmp_path}/run")
    assert "does not take variant 'tiny'" in line
    (tmp_path / "own.py").write_bytes(b"\xff\xfe\x00")
    line = fail(capsys, main.main, f"--config={tmp_path}/own.py", f"--workdir={tmp_path}/run")
    assert "does not run" in line
    (tmp_path / "own.txt").write_text("")
    line = fail(capsys, main.main, f"--config={tmp_path}/own.txt", f"--workdir={tmp_path}/run")
    assert "not a Python file" in line


PREDICT = [
    ([], "give either"),
    (["--text=x", "--inputs=y"], "give either"),
    (["--text=x", "--top=0"], "top"),
    (["--text=x", "--top=many"], "top"),
    (["--text=x", "--top=1.5"], "top"),
    (["--text"], "text"),
    (["--text=x", "more"], "more"),
    (["--inputs=missing.jsonl"], "missing.jsonl"),
    (["--inputs=/proc/self/mem"], "/proc/self/mem"),
    (["--inputs=/proc"], "pictures, sounds or videos: check the path"),
    ([f"--inputs={'x' * 300}"], "no such file"),
    (["--text=x"], "config.json"),
    (["--text=x", "--workdir=/proc/version"], "/proc/version"),
    (["--text=x", "--workdir=/nothing/there"], "config.json"),
    (["--text=x", "--workdir="], "--workdir is missing"),
    (["--text=x", f"--workdir={'x' * 300}"], "too long"),
]


@pytest.mark.parametrize(("arguments", "words"), PREDICT, ids=lambda x: str(x)[:60])
def test_a_wrong_predict_line_is_explained(capsys, tmp_path, arguments, words):
    assert words in fail(capsys, predict.main, f"--workdir={tmp_path}", *arguments)


CONFIGS = [
    ("", "not JSON"),
    ("{", "not JSON"),
    ("[]", "no table"),
    ("3", "no table"),
    ("{}", "is missing"),
    ('{"task": "x"}', "config.task"),
    (b"\xff", "not JSON"),
]


@pytest.mark.parametrize(("text", "words"), CONFIGS)
def test_a_workdir_whose_config_is_damaged_is_explained(capsys, tmp_path, text, words):
    path = tmp_path / "config.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    for function, more in ((predict.main, ["--text=x"]), (main.main, ["--mode=eval"])):
        line = fail(capsys, function, f"--workdir={tmp_path}", *more)
        assert words in line
        assert "config.json" in line


CONVERT = [
    ([], "two paths"),
    (["SRC"], "two paths"),
    (["SRC", "DST", "more", "--to=npz"], "two paths"),
    (["SRC", "DST"], "--to is missing"),
    (["SRC", "DST", "--to="], "--to is missing"),
    (["SRC", "DST", "--to=numpy"], "--to"),
    (["SRC", "DST", "--too=npz"], "to"),
    (["SRC", "--inspect"], "SRC"),
    (["--inspect"], "one path"),
    (["SRC", "DST", "--inspect"], "one path"),
    (["SRC", "--inspect=maybe"], "inspect"),
    (["SRC", "DST", "--to=npz"], "SRC"),
    (["SRC", "FILE", "--to=npz"], "there already"),
    (["SRC", "FULL", "--to=npz"], "there already"),
    (["SRC", "DST", "--to=npz", "--encoder=text"], "--encoder"),
    (["FILE", "DST", "--to=npz"], "FILE"),
    (["FILE", "--inspect"], "FILE"),
    (["FULL", "DST", "--to=safetensors"], "FULL"),
]


@pytest.mark.parametrize(("arguments", "words"), CONVERT, ids=lambda x: str(x)[:60])
def test_a_wrong_convert_line_is_explained(capsys, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "FILE").write_text("text")
    (tmp_path / "FULL").mkdir()
    (tmp_path / "FULL" / "more").write_text("text")
    assert words in fail(capsys, convert.main, *arguments)
    assert (tmp_path / "FILE").read_text() == "text"
    assert not (tmp_path / "DST").exists()


def test_a_destination_that_cannot_be_made_is_explained(capsys, tmp_path):
    fakes.write_clip(tmp_path / "clip")
    (tmp_path / "FILE").write_text("text")
    for target in ("/proc/nothing/here", "/proc/version/here", f"{tmp_path}/FILE/here"):
        line = fail(capsys, convert.main, f"{tmp_path}/clip", target, "--to=npz")
        assert target in line

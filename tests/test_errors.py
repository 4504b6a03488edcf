"""Every mistake of the user ends with exit code 2 and one line that helps; nothing is lost."""

import errno
import os
from pathlib import Path

import jax
import pytest

from mmjax import cli, main, predict
from mmjax.train.checkpoints import workdir

ROOT = Path(__file__).parent.parent
TINY = f"--config={ROOT}/configs/vqa.py:tiny"
CACHE = f"--config.compilation_cache={os.environ['JAX_COMPILATION_CACHE_DIR']}"


def fail(capsys, function, *argv):
    """Runs a command line that must fail; gives back its one line."""
    cache = [CACHE] if TINY in argv else []
    with pytest.raises(SystemExit) as caught:
        cli.run(function, ["program", *argv, *cache])
    lines = capsys.readouterr().err.strip().splitlines()
    assert caught.value.code == 2
    assert len(lines) == 1, lines
    return lines[0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([f"--config={ROOT}/configs/vqaa.py"], "vqa.py"),
        ([f"--config={ROOT}/configs/vqa.py:tinny"], "did you mean 'tiny'"),
        ([TINY, "--config.train.stepz=3"], "config.train.stepz: no such key; did you mean 'steps'"),
        ([TINY, "--config.tarin.steps=3"], "did you mean 'train'"),
        ([TINY, "--config.encoders.image.name=vitt"], "did you mean 'vit'"),
        ([TINY, "--config.encoders.text.name=lstn"], "did you mean 'lstm'"),
        ([TINY, "--config.fusion.name=transfomer"], "did you mean 'transformer'"),
        ([TINY, "--config.optimizer.name=adamv"], "did you mean 'adamw'"),
        ([TINY, "--config.optimizer.schedule=cosine"], "did you mean 'warmup_cosine'"),
        ([TINY, "--config.data.name=shapez"], "did you mean 'shapes'"),
        ([TINY, "--config.task=classify"], "did you mean 'classification'"),
        ([TINY, "--config.metrics=('acuracy',)"], "did you mean 'accuracy'"),
        ([TINY, "--config.modalities=('audio',)"], "config.modalities: unknown 'audio'"),
        ([TINY, "--config.modalities=()"], "config.modalities"),
        ([TINY, "--config.train.steps=many"], "config.train.steps"),
        ([TINY, "--config.train.steps=0"], "config.train.steps=0"),
        ([TINY, "--config.train.mode=best"], "config.train.mode"),
        ([TINY, "--config.train.monitor=val/acc", "--config.train.steps=1"], "val/accuracy"),
        ([TINY, "--config.dtype=float33"], "config.dtype"),
        ([TINY, "--config.mesh.data=3"], "cannot be divided over 3 devices"),
        ([TINY, "--config.mesh.data=512"], "there are 8"),
        ([TINY, "--config.optimizer.freeze=('^encoderz',)"], "matches no parameter"),
        ([TINY, "--mode=evaluate"], "mode"),
        ([TINY, "--wrokdir=x"], "workdir"),
        ([TINY, "extra"], "extra"),
        ([TINY, "--quiet", "--verbose"], "choose one"),
        ([], "--config"),
    ],
)
def test_a_wrong_command_line_is_explained(capsys, tmp_path, arguments, words):
    line = fail(capsys, main.main, f"--workdir={tmp_path / 'run'}", *arguments)
    assert words in line


def test_help_prints_how_to_call_the_program(capsys):
    cli.run(main.main, ["program", "--help"])
    assert "--workdir=DIR" in capsys.readouterr().out


def test_the_config_may_stand_after_a_space(capsys, tmp_path):
    arguments = ["--config", f"{ROOT}/configs/vqa.py:tinny", f"--workdir={tmp_path / 'run'}"]
    assert "did you mean 'tiny'" in fail(capsys, main.main, *arguments)


def test_a_missing_workdir_flag_is_explained(capsys):
    assert "--workdir" in fail(capsys, main.main, TINY)


def test_a_config_that_does_not_run_is_explained(capsys, tmp_path):
    (tmp_path / "bad.py").write_text("import nothing_of_that_name")
    line = fail(capsys, main.main, f"--config={tmp_path}/bad.py", f"--workdir={tmp_path}/run")
    assert "nothing_of_that_name" in line
    (tmp_path / "empty.py").write_text("")
    line = fail(capsys, main.main, f"--config={tmp_path}/empty.py", f"--workdir={tmp_path}/run")
    assert "get_config" in line


def test_an_option_that_an_encoder_does_not_have_is_explained(capsys, tmp_path):
    source = (ROOT / "configs" / "vqa.py").read_text()
    body = "\n\ndef get_config(v='tiny'):\n    c = base(v)\n"
    body += "    c.encoders.text.layer = 3\n    return c\n"
    (tmp_path / "own.py").write_text(source.replace("def get_config", "def base") + body)
    line = fail(capsys, main.main, f"--config={tmp_path}/own.py:tiny", f"--workdir={tmp_path}/run")
    assert "config.encoders.text" in line
    assert "'layer'" in line


def test_a_workdir_of_another_config_is_left_alone(capsys, tmp_path):
    workdir.open_workdir(tmp_path / "run", {"seed": 1})
    (tmp_path / "run" / "checkpoints" / "7").mkdir(parents=True)
    before = (tmp_path / "run" / "config.json").read_text()
    line = fail(capsys, main.main, TINY, f"--workdir={tmp_path / 'run'}")
    assert "belongs to another config" in line
    assert (tmp_path / "run" / "config.json").read_text() == before


def test_evaluating_what_was_never_trained_is_explained(capsys, tmp_path):
    line = fail(capsys, main.main, TINY, f"--workdir={tmp_path / 'run'}", "--mode=eval")
    assert "no checkpoint" in line


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES, errno.EROFS])
def test_a_workdir_without_space_or_permission_is_explained(capsys, tmp_path, monkeypatch, code):
    def refuse(self, *_, **__):
        raise OSError(code, os.strerror(code), str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)
    line = fail(capsys, main.main, TINY, f"--workdir={tmp_path / 'run'}")
    assert os.strerror(code) in line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "give either"),
        (["--text=x", "--inputs=y"], "give either"),
        (["--text=x", "--top=0"], "top"),
        (["--inputs=missing.jsonl"], "missing.jsonl"),
        (["--text=x"], "config.json"),
    ],
)
def test_a_wrong_predict_command_is_explained(capsys, tmp_path, arguments, words):
    assert words in fail(capsys, predict.main, f"--workdir={tmp_path}", *arguments)


@pytest.mark.parametrize(
    "error",
    [MemoryError(), jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory\nallocating 9")],
)
def test_too_little_memory_is_explained(capsys, error):
    def run_out(_):
        raise error

    assert "lower the batch" in fail(capsys, run_out)


def test_another_error_of_the_device_is_not_taken_for_too_little_memory():
    def break_down(_):
        raise jax.errors.JaxRuntimeError("INTERNAL: broken")

    with pytest.raises(jax.errors.JaxRuntimeError, match="broken"):
        cli.run(break_down, ["program"])

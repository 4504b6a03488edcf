"""The README's commands are run as they are written."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

from mmjax.factory.checkpoints import pretrained
from mmjax.factory.tables import gallery
from mmjax.train.reporting.writers import read_metrics

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def blocks():
    text = (ROOT / "README.md").read_text()
    return re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL)


def command(words):
    """The one line of the README that holds these words, for this interpreter."""
    lines = [line for block in blocks() for line in block.splitlines() if words in line]
    assert len(lines) == 1, lines
    arguments = shlex.split(lines[0])
    assert arguments[0] == ".venv/bin/python"
    return [sys.executable, *arguments[1:]]


def run(arguments, cwd):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        arguments, cwd=cwd, env=environment, check=True, capture_output=True, text=True
    ).stdout


def test_the_gallery_shows_what_there_is():
    text = (ROOT / "README.md").read_text()
    assert gallery.replaced(text) == text, "run: python -m mmjax.factory.tables.gallery README.md"
    for constructor in (*gallery.FUSIONS.values(), *gallery.ENCODERS["image"].values()):
        assert len(gallery.summary(constructor)) > 10


def test_the_main_command_and_the_one_that_uses_its_result(tmp_path):
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    few = [
        "--config.train.steps=2",
        f"--config.data.dir={tmp_path}/data",
        "--config.compilation_cache=",
    ]
    out = run([*command("mmjax.main --config=configs/vqa.py --workdir"), *few], tmp_path)
    assert "test set" in out
    assert "test/accuracy" in read_metrics(tmp_path / "runs" / "vqa")[-1]
    import easy_vqa

    image = easy_vqa.get_test_image_paths()[0]
    answer = [a.replace("IMAGE.png", image) for a in command("mmjax.predict")]
    assert '"answers"' in run(answer, tmp_path)
    (line,) = re.findall(
        r"^python (-m mmjax.convert runs/vqa .*--encoder=\S+)", README, re.MULTILINE
    )
    run([sys.executable, *shlex.split(line)], tmp_path)
    assert pretrained.own.is_own(pretrained.open_checkpoint(tmp_path / "DST"))

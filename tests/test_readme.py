"""The README's commands are run as they are written; what it and docs/ say is so."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from mmjax import cli, factory
from mmjax.factory.checkpoints import pretrained
from mmjax.factory.config.help import describe
from mmjax.factory.tables import gallery
from mmjax.train.reporting.writers import read_metrics

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks():
    return re.findall(r"```sh\n(.*?)```", README, flags=re.DOTALL)


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


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_the_tables_show_what_there_is(page):
    text = page.read_text()
    assert gallery.replaced(text) == text, "run: python -m mmjax.factory.tables.gallery docs/*.md"


def test_every_table_is_on_a_page_with_a_text_for_each_name():
    text = "".join(page.read_text() for page in PAGES)
    for name in gallery.GALLERIES:
        assert text.count(f"<!-- {name} -->") == 1
    for constructor in (*gallery.FUSIONS.values(), *gallery.ENCODERS["image"].values()):
        assert len(gallery.summary(constructor)) > 10


def test_the_front_page_is_short_and_links_every_page():
    assert len(README.encode()) <= 6000
    for page in (ROOT / "docs").glob("*.md"):
        assert f"(docs/{page.name})" in README
    assert all(picture.stat().st_size < 100_000 for picture in (ROOT / "docs").glob("*.png"))


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_and_their_headings_are_there(page):
    text = re.sub(r"```.*?```|`[^`]*`", "", page.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, heading = target.partition("#")
        if "://" in target:
            continue
        assert (page.parent / path).exists(), target
        if heading:
            lines = (page.parent / path).read_text().splitlines()
            titles = [line.lstrip("# ").lower() for line in lines if line.startswith("#")]
            assert heading in [title.replace(" ", "-") for title in titles], target


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_what_pages_say_of_the_command_line_is_so(page):
    text = page.read_text()
    for topic in re.findall(r"--help=([\w.]+)", text):
        if topic != "encoders.image.mean_color":  # docs/extend.md adds it
            describe(topic)
    for section in text.split("\n## "):
        own = section.startswith("Your own data")  # what is left out there, data say
        config = cli.load_config("own" if own else "vqa")
        for words in re.findall(r"`(?:mmjax )?(--config\.[^`]*)`", section):
            given = cli.config_arguments(shlex.split(words))
            if "KEY" not in words:
                changed = factory.overridden(config, given.keys)
                if not own:
                    factory.checked(changed)


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
    page = (ROOT / "docs" / "checkpoints.md").read_text()
    (line,) = re.findall(r"^mmjax-convert (runs/vqa .*--encoder=\S+)", page, re.MULTILINE)
    run([sys.executable, "-m", "mmjax.convert", *shlex.split(line)], tmp_path)
    assert pretrained.own.is_own(pretrained.open_checkpoint(tmp_path / "DST"))

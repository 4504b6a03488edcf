import errno
import importlib.util
import itertools
import logging
import os
import shutil

import pytest

from mmjax.data.datasets.easy_vqa.builder import EasyVqa
from mmjax.data.datasets.easy_vqa.sources import easy_vqa
from mmjax.data.sources.source import check
from mmjax.errors import UserError

GENERATE = EasyVqa._generate_examples


def few(builder, *args):
    """Stands for the generator of a builder with 20 images a split."""
    return itertools.islice(GENERATE(builder, *args), 20)


def failing(error):
    """Stands for the generator of a builder whose disk fails half way."""

    def generate(builder, *args):
        yield from few(builder, *args)
        raise error

    return generate


def os_error(code):
    return OSError(code, os.strerror(code))


@pytest.mark.parametrize(
    "error",
    [
        os_error(errno.ENOSPC),
        os_error(errno.EACCES),
        os_error(errno.EROFS),
        # What ArrayRecord's writer raises on a full disk, seen on a small tmpfs.
        RuntimeError(
            "Failed to finalize: write() failed: No space left on device; at byte 1228800"
        ),
    ],
)
def test_a_failing_disk_leaves_nothing_that_counts_as_written(tmp_path, monkeypatch, error):
    with monkeypatch.context() as patch:
        patch.setattr(EasyVqa, "_generate_examples", failing(error))
        with pytest.raises(UserError, match=r"--config\.data\.dir=") as caught:
            easy_vqa(dir=str(tmp_path))
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    monkeypatch.setattr(EasyVqa, "_generate_examples", few)
    assert len(easy_vqa(dir=str(tmp_path))["test"].records) == 20


def test_an_error_of_ours_is_not_taken_for_a_full_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(EasyVqa, "_generate_examples", failing(RuntimeError("a bug")))
    with pytest.raises(RuntimeError, match="a bug"):
        easy_vqa(dir=str(tmp_path))


def test_a_data_directory_that_is_a_file(tmp_path):
    path = tmp_path / "file"
    path.write_text("")
    with pytest.raises(UserError, match="cannot write easy_vqa there"):
        easy_vqa(dir=str(path))


def test_a_process_that_was_slower_uses_what_the_other_wrote(built, tmp_path, monkeypatch):
    original = EasyVqa.download_and_prepare

    def slower(builder):
        shutil.copytree(built / "easy_vqa", tmp_path / "easy_vqa")
        monkeypatch.setattr(EasyVqa, "download_and_prepare", original)
        raise FileExistsError(f"Destination {builder.data_path} already exists.")

    monkeypatch.setattr(EasyVqa, "download_and_prepare", slower)
    assert len(easy_vqa(dir=str(tmp_path))["test"].records) == 1000


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UserError, match="pip install easy-vqa"):
        easy_vqa(dir=str(tmp_path))


@pytest.mark.parametrize("damage", ["removed", "cut", "no info"])
def test_damaged_files_are_reported(built, tmp_path, damage):
    shutil.copytree(built / "easy_vqa", tmp_path / "easy_vqa")
    directory = tmp_path / "easy_vqa" / "1.0.0"
    (records,) = directory.glob("*-test.array_record*")
    actions = {
        "removed": records.unlink,
        "cut": lambda: os.truncate(records, 300_000),
        "no info": (directory / "dataset_info.json").unlink,
    }
    actions[damage]()
    with pytest.raises(UserError, match=r"is damaged.*delete that directory") as caught:
        easy_vqa(dir=str(tmp_path))
    assert str(directory) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_flipped_byte_costs_one_record(built, tmp_path, caplog):
    shutil.copytree(built / "easy_vqa", tmp_path / "easy_vqa")
    (records,) = (tmp_path / "easy_vqa" / "1.0.0").glob("*-test.array_record*")
    content = bytearray(records.read_bytes())
    content[200_000] ^= 255  # in some record; where it begins differs from build to build
    records.write_bytes(content)
    with caplog.at_level(logging.WARNING, logger="mmjax"):
        broken = check(easy_vqa(dir=str(tmp_path))["test"])
    assert len(broken) == 1
    assert "is broken and left out" in caplog.text

"""Preparation: what is written once, what is broken, and what is told of mistakes."""

import errno
import importlib.util
import logging
import os
import shutil
import subprocess
import sys
import textwrap

import pytest

from mmjax.data.datasets.tux_paint import stamps
from mmjax.data.datasets.tux_paint.builder import TuxPaintSpeech, TuxPaintStamps
from mmjax.data.datasets.tux_paint.sources import tux_paint
from mmjax.errors import UserError
from tests.data import tux

COUNT = 220  # one broken stamp is less than 1 %, also of the training split


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Many stamps, of which one is broken."""
    made = tux.make(tmp_path_factory.mktemp("stamps"), COUNT)
    (made / f"{tux.name(0)}.png").write_bytes(b"no picture")
    return made


@pytest.fixture(scope="module")
def built(folder, tmp_path_factory):
    """A data directory with stamps and French speech in it; copy it before you damage it."""
    directory = tmp_path_factory.mktemp("data")
    tux_paint(dir=str(directory), stamps=str(folder), speech=("fr",))
    return directory


@pytest.fixture
def few(tmp_path):
    return tux.make(tmp_path / "stamps", 30)


def total(splits):
    return sum(map(len, splits.values()))


def failing(directory, **options):
    """The one line that the user is told."""
    with pytest.raises(UserError) as caught:
        tux_paint(dir=str(directory), **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_later_start_only_reads_and_needs_no_stamps(built, monkeypatch):
    before = {path: path.stat().st_mtime_ns for path in built.rglob("*")}
    for builder in (TuxPaintStamps, TuxPaintSpeech):
        monkeypatch.setattr(builder, "_split_generators", None)
    assert total(tux_paint(dir=str(built), stamps="/nowhere")) == COUNT - 1
    spoken = tux_paint(dir=str(built), stamps="/nowhere", speech=("fr",))
    assert total(spoken) == tux.FRENCH - 1  # the first stamp has a clip but no picture
    assert before == {path: path.stat().st_mtime_ns for path in built.rglob("*")}
    assert not [path for path in before if "incomplete" in path.name]


def test_stamps_are_found_where_they_were_unpacked_or_installed(tmp_path, few, monkeypatch):
    monkeypatch.setattr(stamps, "INSTALLED", tmp_path / "none")
    told = failing(tmp_path / "data")
    unpack = "apt-get download tuxpaint-stamps-default && dpkg-deb -x tuxpaint-stamps-default_*.deb"
    assert told.endswith(f"run: {unpack} {tmp_path}/data/tuxpaint")
    told = failing(tmp_path / "data", stamps=str(tmp_path / "here"))
    assert f"no stamps in {tmp_path}/here" in told
    assert told.endswith(f"{unpack} {tmp_path}/here")
    inside = "usr/share/tuxpaint/stamps"
    for number, (place, options) in enumerate(
        {
            f"data0/tuxpaint/{inside}": {},
            "data1/tuxpaint": {},
            f"here/{inside}": {"stamps": str(tmp_path / "here")},
        }.items()
    ):
        shutil.copytree(few, tmp_path / place)
        splits = tux_paint(dir=str(tmp_path / f"data{number}"), **options)
        assert total(splits) == 30
        assert splits["train"].targets["label"].classes == tux.CATEGORIES
    monkeypatch.setattr(stamps, "INSTALLED", few)
    assert total(tux_paint(dir=str(tmp_path / "data3"))) == 30


@pytest.mark.parametrize("broken", ["png", "txt", "white", "transparent"])
def test_a_broken_stamp_is_left_out_and_told(tmp_path, folder, caplog, broken):
    copy = shutil.copytree(folder, tmp_path / "stamps")
    stamp = f"{copy}/{tux.name(4)}"
    if broken == "txt":
        (copy / f"{tux.name(4)}.txt").write_bytes(b"\xff\xfe")
    elif broken == "png":
        os.truncate(f"{stamp}.png", 60)
    else:
        rgb, size = ((255, 255, 255), (3, 3)) if broken == "white" else ((0, 0, 0), (0, 0))
        tux.draw(copy, tux.name(4), rgb, size)
    with caplog.at_level(logging.WARNING, logger="mmjax"):
        splits = tux_paint(dir=str(tmp_path), stamps=str(copy))
    assert total(splits) == COUNT - 2
    said = {text for arrays in splits.values() for text in arrays.texts["text"]}
    assert f"A {tux.name(3)}." in said
    assert not {f"A {tux.name(n)}." for n in (0, 4)} & said
    assert caplog.text.count("is broken and left out") == 2
    assert f"2 of {COUNT} so far" in caplog.text


@pytest.mark.parametrize("kind", ["png", "txt", "ogg"])
def test_over_one_percent_of_broken_files_are_an_error(tmp_path, few, kind):
    options = {"speech": ("fr",)} if kind == "ogg" else {}
    ending = "_desc_fr.ogg" if kind == "ogg" else f".{kind}"
    (few / f"{tux.name(4)}{ending}").write_bytes(b"\xff no file of that kind")
    told = failing(tmp_path, stamps=str(few), **options)
    assert f"at least 1 of {tux.FRENCH if kind == 'ogg' else 30} records are broken" in told
    assert str(few) in told
    tux.draw(few, tux.name(4), (0, 0, 0))
    tux.speak(few, tux.name(4), "fr", 0.2, 200)
    assert total(tux_paint(dir=str(tmp_path), stamps=str(few), **options)) > 9


def test_silence_is_no_speech(tmp_path):
    tux.speak(tmp_path, "a", "fr", 0.1, 0)
    with pytest.raises(ValueError, match="silence"):
        stamps.read_clip(tmp_path / "a_desc_fr.ogg")


def test_a_broken_record_is_left_out(built, tmp_path, caplog):
    shutil.copytree(built, tmp_path, dirs_exist_ok=True)
    (records,) = (tmp_path / "tux_paint_stamps").rglob("*-train.array_record*")
    content = bytearray(records.read_bytes())
    content[20_000] ^= 255  # in some record
    records.write_bytes(content)
    assert total(tux_paint(dir=str(tmp_path))) == COUNT - 2
    assert "is broken and left out" in caplog.text


@pytest.mark.parametrize("damage", ["removed", "cut", "no info"])
@pytest.mark.parametrize("part", ["tux_paint_stamps", "tux_paint_speech/fr"])
def test_damaged_files_are_reported(built, tmp_path, part, damage):
    shutil.copytree(built, tmp_path, dirs_exist_ok=True)
    directory = tmp_path / part / "1.0.0"
    records = next(directory.glob("*.array_record*"))
    actions = {
        "removed": records.unlink,
        "cut": lambda: os.truncate(records, records.stat().st_size // 2),
        "no info": (directory / "dataset_info.json").unlink,
    }
    actions[damage]()
    told = failing(tmp_path, speech=("fr",))
    assert str(directory) in told
    assert "delete" in told
    # What is left of the small file of speech can be opened; its records are empty.
    assert ("records are broken" in told) == (part.endswith("fr") and damage == "cut")


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        RuntimeError("Failed to finalize: No space left on device; at byte 1228800"),
    ],
)
def test_a_failing_disk_leaves_nothing_that_counts_as_written(tmp_path, few, monkeypatch, error):
    def generate(*_):
        raise error
        yield

    with monkeypatch.context() as patch:
        patch.setattr(TuxPaintStamps, "_generate_examples", generate)
        told = failing(tmp_path / "data", stamps=str(few))
    assert "cannot write tux_paint there (No space left on device)" in told
    assert "--config.data.dir=" in told
    assert total(tux_paint(dir=str(tmp_path / "data"), stamps=str(few))) == 30


def test_an_error_of_ours_is_not_taken_for_a_full_disk(tmp_path, few, monkeypatch):
    monkeypatch.setattr(TuxPaintStamps, "_generate_examples", lambda *_: iter([(0, {"x": 1})]))
    with pytest.raises(RuntimeError, match="Failed to encode"):
        tux_paint(dir=str(tmp_path), stamps=str(few))


def test_a_process_that_was_slower_uses_what_the_other_wrote(built, folder, tmp_path, monkeypatch):
    original = TuxPaintStamps.download_and_prepare

    def slower(builder):
        shutil.copytree(built, tmp_path, dirs_exist_ok=True)
        monkeypatch.setattr(TuxPaintStamps, "download_and_prepare", original)
        raise FileExistsError(f"Destination {builder.data_path} already exists.")

    monkeypatch.setattr(TuxPaintStamps, "download_and_prepare", slower)
    assert total(tux_paint(dir=str(tmp_path), stamps=str(folder))) == COUNT - 1


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"language": "xx"}, "language='xx' and speech=(); there are captions in en, fr"),
        ({"language": "speech"}, "language='speech' but speech=()"),
        ({"speech": ("fr", "zz")}, "no speech in 'zz'; choose from be, bg, ca,"),
        ({"speech": ("ro",)}, "no speech in 'ro' in"),
        ({"sample_rate": 44100}, "sample_rate=44100: give 1 to 16000 Hz"),
        ({"sample_rate": 0}, "sample_rate=0: give 1 to 16000 Hz"),
        ({"seconds": 0.0}, "seconds=0.0: give a number above 0"),
        ({"seconds": float("inf")}, "seconds=inf: give a number above 0"),
    ],
)
def test_mistakes_are_told(built, folder, tmp_path, options, expected):
    shutil.copytree(built, tmp_path, dirs_exist_ok=True)
    assert expected in failing(tmp_path, stamps=str(folder), **options)


def test_only_speech_needs_soundfile(built, monkeypatch):
    found = importlib.util.find_spec
    hide = {"soundfile": lambda _: None}
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: hide.get(name, found)(name, *a)
    )
    assert total(tux_paint(dir=str(built))) == COUNT - 1
    assert "pip install soundfile" in failing(built, speech=("fr",))


def test_a_new_process_builds_and_reads_says_what_is_left_out_and_needs_no_tensorflow(
    few, tmp_path, environment
):
    program = """
        import sys
        from mmjax.data.datasets.tux_paint.sources import tux_paint
        assert "soundfile" not in sys.modules and "tensorflow_datasets" not in sys.modules
        arrays = tux_paint(dir=sys.argv[1], stamps=sys.argv[2], speech=("en",), seconds=0.2)
        assert sum(map(len, arrays.values())) == 3
        assert "tensorflow" not in sys.modules and "torch" not in sys.modules
    """
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(program)]
    command += [str(tmp_path), str(few)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, done.stdout) == (0, "")
    (line,) = done.stderr.splitlines()
    assert line.endswith("tux_paint: 27 stamps have no speech in 'en' and are left out")

"""A damaged file of a run never becomes other numbers, nor a traceback."""

import gc
import shutil
import subprocess

import jax
import pytest

from mmjax.errors import UserError
from mmjax.train.checkpoints import checksums
from mmjax.train.checkpoints.checkpoint import Checkpoints
from tests.train.checkpoints.test_checkpoint import abstract, save
from tests.train.toy import Stream, Toy, same

SCORES = [0.1, 0.9]


def flip(place):
    def damage(file):
        content = bytearray(file.read_bytes())
        content[int(place * len(content))] ^= 1 << int(place * 7)
        file.write_bytes(content)

    return damage


def become_a_directory(file):
    file.unlink()
    file.mkdir()


DAMAGES = {
    "a bit": flip(0.5),
    "a bit near the end": flip(0.97),
    "zeros": lambda file: file.write_bytes(bytes(file.stat().st_size)),
    "half": lambda file: file.write_bytes(file.read_bytes()[: file.stat().st_size // 2]),
    "nothing": lambda file: file.write_bytes(b""),
    "missing": lambda file: file.unlink(),
    "a directory": become_a_directory,
    "another beside it": lambda file: file.with_name("process_9").write_bytes(b"{}"),
}

HARMLESS_AT_THE_TOP = (DAMAGES["missing"], DAMAGES["another beside it"])


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A workdir with two checkpoints, the later one the best, and the states in them."""
    path = tmp_path_factory.mktemp("damage") / "whole"
    save(path, 2, keep=2, scores=SCORES)
    toy, data, states = Toy(), Stream(), {}
    state = toy.state
    for step in (1, 2):
        state, _ = toy.step(state, next(data))
        states[step] = jax.device_get(state)
    yield path, states
    gc.collect()


def load(path, shapes):
    """The best step and its parameters, as `mmjax.load` reads them; None if it refuses."""
    checkpoints = Checkpoints(path)
    try:
        step = checkpoints.best_step()
        read = checkpoints.restore_variables(step, {"params": shapes.params, "model_state": {}})
    except UserError as error:
        return None if "\n" not in str(error) else str(error)
    return step, read["params"]


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_damage_is_refused_on_loading_and_falls_back_on_resuming(whole, tmp_path, damage):
    path, states = whole
    shapes, newest = abstract(Toy().state), path / "checkpoints" / "2"
    names = [file.relative_to(path) for file in newest.rglob("*") if file.is_file()]
    assert len(names) > 10
    half = list(DAMAGES.values()).index(damage) % 2  # every file is damaged in four ways
    for number, name in enumerate(sorted(names, key=str)[half::2]):
        copy = tmp_path / str(number)
        shutil.copytree(path, copy)
        damage(copy / name)
        # What lies at the top is nobody's concern, but for the checksums, if they are there.
        kept = name.name == checksums.FILE and damage not in HARMLESS_AT_THE_TOP
        harmless = (copy / name).parent == copy / "checkpoints" / "2" and not kept
        loaded = load(copy, shapes)
        assert (loaded is not None) == harmless, name
        if loaded is not None:
            assert loaded[0] == 2
            assert same(loaded[1], states[2].params), name
        data, checkpoints = Stream(), Checkpoints(copy, keep=2)
        state, progress = checkpoints.restore_latest(shapes, data)
        step = 2 if harmless else 1
        assert (int(state.step), data.position, progress) == (step, step, {"step": step}), name
        assert same(state, states[step]), name
        assert checkpoints.steps() == list(range(1, step + 1))
        assert (copy / "broken-checkpoints" / "2").exists() != harmless
        shutil.rmtree(copy)


def test_what_an_older_version_wrote_is_read_with_a_warning(whole, tmp_path, caplog):
    path, states = whole
    shutil.copytree(path, tmp_path / "old")
    for step in (1, 2):
        (tmp_path / "old" / "checkpoints" / str(step) / checksums.FILE).unlink()
    step, params = load(tmp_path / "old", abstract(Toy().state))
    assert (step, "has no checksums" in caplog.text) == (2, True)
    assert same(params, states[2].params)
    scores = tmp_path / "old" / "checkpoints" / "2" / "metrics" / "metrics"
    for text in ("{", "{}", "[1]", '{"score": null}', '{"score": "high"}'):
        scores.write_text(text)
        assert load(tmp_path / "old", abstract(Toy().state)) is None
    restored, _ = Checkpoints(tmp_path / "old").restore_latest(abstract(Toy().state), Stream())
    assert same(restored, states[1])


def test_scores_are_checked_before_the_best_checkpoint_is_chosen(whole, tmp_path):
    shutil.copytree(whole[0], tmp_path / "run")
    scores = tmp_path / "run" / "checkpoints" / "1" / "metrics" / "metrics"
    scores.write_text(scores.read_text().replace("0.1", "9.1"))
    with pytest.raises(UserError, match=r"checkpoints/1 is damaged: metrics/metrics is not what"):
        Checkpoints(tmp_path / "run").best_step()


def test_files_are_replaced_with_their_checksums_and_a_crash_between_harms_nothing(
    tmp_path, monkeypatch
):
    file, other = tmp_path / "a.json", tmp_path / "b.json"
    file.write_text("one")
    other.write_text("other")
    assert checksums.damage(tmp_path) == ""
    checksums.write(tmp_path, [file, other])
    checksums.replace(file, "two")
    assert (file.read_text(), checksums.damage(tmp_path)) == ("two", "")
    write_text, written = checksums.write_text, []

    def crash(path, text):
        if len(written) == survived:
            raise KeyboardInterrupt
        written.append(path)
        write_text(path, text)

    monkeypatch.setattr(checksums, "write_text", crash)
    for survived in (0, 1, 2):
        written.clear()
        with pytest.raises(KeyboardInterrupt):
            checksums.replace(file, f"three {survived}")
        assert checksums.damage(tmp_path) == ""
    monkeypatch.undo()
    file.write_text("five")
    assert checksums.damage(tmp_path) == "a.json is not what was written"
    checksums.replace(file, "four")
    checksums.replace(tmp_path / "new.json", "new")
    assert checksums.damage(tmp_path) == ""
    (tmp_path / "new.json").write_text("old")
    assert checksums.damage(tmp_path) == "new.json is not what was written"


def test_the_command_sha256sum_reads_the_checksums(whole):
    sums = whole[0] / "checkpoints" / "1" / checksums.FILE
    command = ["sha256sum", "--check", "--strict", "--quiet", sums.name]
    assert subprocess.run(command, cwd=sums.parent, check=True, capture_output=True).stdout == b""

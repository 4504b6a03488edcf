import subprocess
import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mmjax.train.reporting.writers import METRICS_FILE, Writer, read_metrics


def test_both_files_hold_what_was_written(tmp_path):
    writer = Writer(tmp_path, resume_step=0)
    writer.write(1, {"train/loss": 0.5})
    writer.write(2, {"train/loss": 0.25, "val/accuracy": 1.0})
    writer.close()
    assert read_metrics(tmp_path) == [
        {"step": 1, "train/loss": 0.5},
        {"step": 2, "train/loss": 0.25, "val/accuracy": 1.0},
    ]
    events = EventAccumulator(str(tmp_path)).Reload()
    assert [(e.step, e.value) for e in events.Scalars("train/loss")] == [(1, 0.5), (2, 0.25)]


def test_a_resumed_run_replaces_what_came_after_its_checkpoint(tmp_path):
    first = Writer(tmp_path, resume_step=0)
    for step in (1, 2, 3):
        first.write(step, {"x": float(step)})
    first.close()
    with (tmp_path / METRICS_FILE).open("a") as file:
        file.write('{"step": 4, "x"')  # cut short by a crash
    second = Writer(tmp_path, resume_step=2)
    second.write(3, {"x": 30.0})
    second.close()
    assert [r["x"] for r in read_metrics(tmp_path)] == [1, 2, 30]
    events = EventAccumulator(str(tmp_path)).Reload()
    assert [e.value for e in events.Scalars("x")] == [1, 2, 30]


def test_an_installed_tensorflow_is_not_imported(tmp_path):
    (tmp_path / "tensorflow.py").write_text("raise SystemExit('imported')")
    code = (
        "from mmjax.train.reporting.writers import Writer; w = Writer('run', resume_step=0);"
        "w.write(1, {'x': 1.0}); w.close(); import sys; assert 'tensorflow' not in sys.modules"
    )
    (tmp_path / "run").mkdir()
    subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {sys.path!r}; {code}"],
        cwd=tmp_path,
        check=True,
        env={"PYTHONPATH": str(tmp_path)},
    )


def test_a_damaged_line_is_left_out_with_a_warning(tmp_path, caplog):
    good = b'{"step": 1, "x": 0.5}\n'
    damaged = (b"{", b"\xff\xfe", b"[1]", b"null", b'{"x": 1.0}', b'{"step": "a"}', b'{"x":[1]}')
    for line in damaged:
        (tmp_path / METRICS_FILE).write_bytes(line + b"\n" + good)
        assert read_metrics(tmp_path) == [{"step": 1, "x": 0.5}]
        assert "line 1 is damaged" in caplog.text
        caplog.clear()
    Writer(tmp_path, resume_step=1).close()
    assert (tmp_path / METRICS_FILE).read_bytes() == good


def test_every_record_is_echoed(tmp_path):
    heard = []
    writer = Writer(tmp_path, resume_step=0, echo=heard.append)
    writer.write(1, {"x": 0.5})
    writer.close()
    assert heard == read_metrics(tmp_path)


def test_a_process_that_is_not_the_first_leaves_the_files_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first = Writer(tmp_path, resume_step=0)
    first.write(1, {"train/loss": 2.0})
    before = sorted((f.name, f.stat().st_ino) for f in tmp_path.iterdir())
    other = Writer(None, resume_step=0)
    other.write(1, {"train/loss": 2.0})
    other.close()
    assert sorted((f.name, f.stat().st_ino) for f in tmp_path.iterdir()) == before
    first.close()
    assert read_metrics(tmp_path) == [{"step": 1, "train/loss": 2.0}]

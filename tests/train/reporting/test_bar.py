"""The line of a run shows whole pieces, whatever fits, and the last validation score."""

import io
import itertools
import re

import pytest
from rich.console import Console

from mmjax.train.reporting.bar import BAR, Bar, clock, fitting
from mmjax.train.reporting.console import print_record

SCORES = ("val/accuracy 0.1000", "val/accuracy 0.2000")


def shown(width, *, terminal, steps=100_000):
    """What a run of two evaluations shows, without what moves the cursor."""
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=terminal, color_system=None)
    with Bar(console, start=0, steps=steps) as bar:
        bar.update(1, loss=12.5, rate=1234567.0)
        bar.evaluated(1, SCORES[0], "best 0.1000 at step 1")
        bar.update(steps, loss=0.25, rate=10.0)
        bar.evaluated(steps, SCORES[1], f"best 0.2000 at step {steps}")
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", out.getvalue())


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_a_terminal_shows_one_line_of_whole_pieces_with_the_last_score(width):
    lines = [line.strip() for line in re.split(r"[\r\n]+", shown(width, terminal=True))]
    last = [line for line in lines if line][-1]
    assert len(last) <= width
    pieces = last[BAR:].strip().split("  ")
    assert pieces[0] == "step 100000/100000"
    allowed = {"loss 0.2500", "10 examples/s", SCORES[1], "0:00 left"}
    assert set(pieces[1:]) <= allowed
    if width >= 60:
        assert "loss 0.2500" in pieces
    if width >= 80:
        assert SCORES[1] in pieces
    if width >= 120:
        assert set(pieces[1:]) == allowed


def test_a_plain_log_has_a_line_for_each_evaluation_and_no_floats_as_totals():
    lines = shown(80, terminal=False, steps=7).splitlines()
    assert [line for line in lines if "evaluated" in line] == [
        f"step 1/7  evaluated: {SCORES[0]}  best 0.1000 at step 1",
        f"step 7/7  evaluated: {SCORES[1]}  best 0.2000 at step 7",
    ]
    assert "step 7/7  loss 0.2500  10 examples/s" in lines[-2]


def test_the_most_important_pieces_that_fit_are_there_whole():
    pieces = ("step 1/9", "loss 0.5", "", "val 0.25")
    for width, order in itertools.product(range(40), itertools.permutations(range(4))):
        line = fitting(pieces, order, width)
        found = line.split("  ")
        first = max((order[i], pieces[i]) for i in range(4) if pieces[i])[1]
        assert first in found
        assert [piece for piece in pieces if piece and piece in found] == found
        assert len(line) <= max(width, len(first))
    assert fitting(pieces, (4, 3, 2, 1), 40) == "step 1/9  loss 0.5  val 0.25"


def test_durations_are_clocks():
    assert [clock(s) for s in (0.0, 59.6, 61.0, 3600.0, 90_061.0)] == [
        *("0:00", "1:00", "1:01", "1:00:00", "25:01:01"),
    ]


def test_a_record_is_one_line_however_narrow_the_console():
    out = io.StringIO()
    record = {"step": 3} | {f"train/metric_{i}": i / 7 for i in range(9)}
    print_record(Console(file=out, width=40), record)
    assert out.getvalue().startswith("step 3  train/metric_0 0  train/metric_1 0.142857  ")
    assert len(out.getvalue().splitlines()) == 1

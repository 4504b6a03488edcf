"""No number of a table of results is ever cut, however narrow the console."""

import io

import pytest
from rich.console import Console

from mmjax.train.reporting.console import print_baselines, print_results

PAIRS = ("image-text", "image-speech", "text-speech")


def printed(width, metrics, baselines=None):
    out = io.StringIO()
    counts = dict.fromkeys(metrics, 1234)
    print_results(Console(file=out, width=width), "test set", metrics, counts, baselines or {})
    return out.getvalue()


def retrieval():
    names = [f"recall_at_{k}" for k in (1, 5, 10)] + ["median_rank", "mean_average_precision"]
    return {
        f"{name}/{pair}": (10 * i + j) / 7
        for i, name in enumerate(names)
        for j, pair in enumerate(PAIRS)
    } | {"info_nce": 2.5}


@pytest.mark.parametrize("width", [55, 60, 80, 100, 200])
@pytest.mark.parametrize("metrics", [retrieval(), {"accuracy": 0.5, "accuracy/yes": 0.25}])
def test_every_name_and_number_is_there_whole(width, metrics):
    text = printed(width, metrics)
    assert "…" not in text
    for name, value in metrics.items():
        metric, _, slice_name = name.partition("/")
        assert f"{value:.5f}" in text
        assert metric in text
        assert (slice_name or "all") in text
        assert "1,234" in text


def test_few_metrics_are_columns_and_many_are_rows_where_there_is_room():
    few = printed(100, {"accuracy": 0.5, "accuracy/yes": 0.25}, {"": {"majority class": 0.75}})
    assert "┃ accuracy ┃ majority class ┃" in few
    assert "0.75000" in few
    many = printed(100, retrieval())
    assert any("recall_at_10" in line and "image-text" not in line for line in many.splitlines())
    assert sum("recall_at_10" in line for line in many.splitlines()) == 1


def test_a_narrow_console_has_a_row_for_each_number():
    lines = printed(60, retrieval()).splitlines()
    found = [line for line in lines if "recall_at_10" in line]
    assert len(found) == len(PAIRS)
    assert all(pair in line for pair, line in zip(PAIRS, found, strict=True))


def test_titles_are_not_broken_where_a_narrow_table_ends():
    out = io.StringIO()
    console = Console(file=out, width=80)
    title = "test set, checkpoint of step 1234"
    print_results(console, title, {"loss": 0.5}, {"loss": 3}, {})
    print_baselines(console, {"kind": {"accuracy": {"linear, [b]": 0.5, "this model": 0.75}}})
    lines = [line.rstrip() for line in out.getvalue().splitlines()]
    assert title in lines
    assert "kind: beside other models, on the test set" in lines
    assert "│ linear, [b] │ 0.50000  │" in lines  # brackets of names are no style

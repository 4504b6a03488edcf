import io

from rich.console import Console

from mmjax.train.reporting.counter import Counter


def shown(*done, terminal=False):
    output = io.StringIO()
    console = Console(file=output, width=80, force_terminal=terminal)
    with Counter(console, 1200, "rows") as counter:
        for number in done:
            counter.update(number)
    return output.getvalue()


def test_elsewhere_than_on_a_terminal_the_end_is_one_line():
    (line,) = shown(100, 500, 1200).splitlines()
    assert line.startswith("1,200/1,200 rows  ")
    assert line.endswith("0:00 left")


def test_on_a_terminal_there_is_a_bar():
    assert "500/1,200 rows" in shown(100, 500, terminal=True)


def test_what_was_done_before_does_not_count_for_the_rate():
    assert shown(1200) == "1,200/1,200 rows\n"

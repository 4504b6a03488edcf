"""What a check found, as a person sees it and as a file."""

import json
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from mmjax.data.preparing.checking import Report

MAX_CLASSES = 20  # rows of a table of labels


def print_report(console: Console, report: Report) -> None:
    """A row for each kind of finding, then how often each label occurs."""
    table = Table("finding", "column", "count", "first", "", title="check", title_justify="left")
    for (what, column), count in report.totals.items():
        first = report.first(what, column)
        said = first.said.removeprefix(f"{first.where}: ")
        # As text, or brackets in cells would be taken for styles.
        table.add_row(*map(Text, (what, column, f"{count:,}", first.where, said)))
    if report.totals:
        console.print(table)
    for name, counts in report.labels.items():
        total = sum(counts.values())
        table = Table(Column(Text(name)), "rows", "share", title="labels", title_justify="left")
        for word in sorted(counts, key=lambda word: -counts[word])[:MAX_CLASSES]:
            table.add_row(Text(word), f"{counts[word]:,}", f"{counts[word] / total:.1%}")
        if len(counts) > MAX_CLASSES:
            table.add_row(f"{len(counts) - MAX_CLASSES} more", "", "")
        if counts:
            console.print(table)
    console.print(
        f"{report.rows:,} rows, {report.broken:,} of them broken", highlight=False, markup=False
    )


def lines(report: Report) -> Iterator[str]:
    """The report as lines of JSON: totals, labels, and each finding that is listed."""
    yield json.dumps({"rows": report.rows, "broken": report.broken})
    for (what, column), count in report.totals.items():
        yield json.dumps({"finding": what, "column": column, "count": count})
    for name, counts in report.labels.items():
        yield json.dumps({"column": name, "labels": counts}, ensure_ascii=False)
    for finding in report.findings:
        yield json.dumps(finding._asdict(), ensure_ascii=False)


def write_report(path: Path, report: Report) -> None:
    """Writes the report to a file, an object a line."""
    path.write_text("".join(f"{line}\n" for line in lines(report)), encoding="utf-8")

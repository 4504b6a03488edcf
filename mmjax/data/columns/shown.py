"""The columns of a table, as a person sees them before training."""

from collections.abc import Mapping

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mmjax.data.columns.infer import Column


def print_columns(console: Console, columns: Mapping[str, Column], title: str = "") -> None:
    """A row for each column: its type, how many cells are empty, what it holds.

    Args:
        console: where.
        columns: see infer_columns.
        title: of the table.
    """
    heading = ("column", "type", "empty", "distinct", "examples", "")
    seen = max((column.rows for column in columns.values()), default=0)
    caption = f"guessed from {seen:,} rows"
    table = Table(*heading, title=title or None, title_justify="left", caption=caption)
    for column in columns.values():
        kind = f"{column.type}:{column.form}" if _is_said(column) else column.type
        empty = f"{column.empty / column.rows:.0%}" if column.empty else ""
        cells = (
            *(column.name, kind, empty, f"{column.distinct:,}"),
            *(", ".join(column.examples), column.problem or column.note),
        )
        # As text, or brackets in cells would be taken for styles.
        table.add_row(*map(Text, cells))
    console.print(table)


def _is_said(column: Column) -> bool:
    return column.form not in ("", "1.5", "YMD")

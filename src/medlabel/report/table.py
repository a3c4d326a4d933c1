"""The one writer of tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from medlabel.files import replacing
from medlabel.report.text import MINUS, NONE


@dataclass(frozen=True)
class Table:
    """A table ready to print.

    Attributes
    ----------
    note
        What the numbers are: units, intervals, n.
    rows
        Cells by column; every row has the same columns.
    """

    title: str
    note: str
    rows: Sequence[dict[str, str]]

    @property
    def numeric(self) -> dict[str, bool]:
        """Whether each column begins with a number in every row: such columns align right."""
        starts = {*"0123456789+", MINUS, NONE}
        return {name: all(row[name][:1] in starts for row in self.rows) for name in self.rows[0]}


def distinct(rows: Iterable[dict[str, str]]) -> list[dict[str, str]]:
    """Return equal rows once."""
    return list({tuple(row.values()): row for row in rows}.values())


def write(title: str, summary: str, tables: Sequence[Table], target: Path) -> None:
    """Write tables as Markdown under a title and a summary."""
    text = "\n\n".join([f"# {title}", summary, *map(_markdown, tables)]) + "\n"
    with replacing(target) as partial:
        partial.write_text(text, encoding="utf-8")


def _markdown(table: Table) -> str:
    right = table.numeric
    lines = [
        list(right),
        ["---:" if one else "---" for one in right.values()],
        *(list(row.values()) for row in table.rows),
    ]
    rows = "\n".join(f"| {' | '.join(map(_escape, line))} |" for line in lines)
    return f"## {table.title}\n\n{table.note}\n\n{rows}"


def _escape(cell: str) -> str:
    return cell.replace("|", "\\|")

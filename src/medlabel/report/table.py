"""The one writer of tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from medlabel.files import replacing
from medlabel.report.text import MINUS, NONE


@dataclass(frozen=True)
class Table:
    """A table ready to print.

    Attributes
    ----------
    title
        Heading.
    note
        What the numbers are: units, intervals, n.
    header
        Column names.
    rows
        Cells, as many a row as `header` has.
    """

    title: str
    note: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    @property
    def numeric(self) -> tuple[bool, ...]:
        """Whether each column begins with a number in every row: such columns align right."""
        starts = {*"0123456789+", MINUS, NONE}
        return tuple(
            all(row[column][:1] in starts for row in self.rows)
            for column in range(len(self.header))
        )


def write(title: str, summary: str, tables: Sequence[Table], target: Path) -> None:
    """Write tables as Markdown under a title and a summary."""
    text = "\n\n".join([f"# {title}", summary, *map(_markdown, tables)]) + "\n"
    with replacing(target) as partial:
        partial.write_text(text, encoding="utf-8")


def _markdown(table: Table) -> str:
    lines = [
        table.header,
        tuple("---:" if right else "---" for right in table.numeric),
        *table.rows,
    ]
    rows = "\n".join(f"| {' | '.join(map(_escape, line))} |" for line in lines)
    return f"## {table.title}\n\n{table.note}\n\n{rows}"


def _escape(cell: str) -> str:
    return cell.replace("|", "\\|")

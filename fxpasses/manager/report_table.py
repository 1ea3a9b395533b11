"""Reports as tables: plain text, or with rich if it is installed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fxpasses.manager.report import Report

HEADINGS = ("pass", "ms", "changed", "added", "removed", "replaced", "edited", "skipped")


def cells(report: Report) -> Iterator[tuple[str, ...]]:
    """Yields a row for each pass, indented by its depth."""
    return _cells(report, 0)


def _cells(report: Report, depth: int) -> Iterator[tuple[str, ...]]:
    ran = report.skipped is None
    counts = (report.added, report.removed, report.replaced, report.edited)
    yield (
        "  " * depth + report.name,
        f"{report.seconds * 1e3:.1f}" if ran else "",
        ("yes" if report.changed else "no") if ran else "",
        *(str(count or "") for count in counts),
        report.skipped or "",
    )
    for child in report.children:
        yield from _cells(child, depth + 1)


def plain_table(report: Report) -> str:
    """Returns the table as text in columns; a column without an entry is left out."""
    rows = list(cells(report))
    columns = [
        _column(heading, [row[index] for row in rows], to_the_left=index == 0)
        for index, heading in enumerate(HEADINGS)
        if any(row[index] for row in rows)
    ]
    return "\n".join("  ".join(line).rstrip() for line in zip(*columns, strict=True))


def _column(heading: str, entries: list[str], *, to_the_left: bool) -> list[str]:
    width = max(map(len, (heading, *entries)))
    return [entry.ljust(width) if to_the_left else entry.rjust(width) for entry in (heading, *entries)]


def rich_table(report: Report) -> Any:
    """Returns the table as a `rich.table.Table`; only called by rich itself."""
    from rich.table import Table  # optional: whoever prints with rich has it

    table = Table(*HEADINGS[:1], box=None)
    for heading in HEADINGS[1:-1]:
        table.add_column(heading, justify="right")
    table.add_column(HEADINGS[-1])
    for row in cells(report):
        table.add_row(*row, style="dim" if row[2] != "yes" else None)
    return table

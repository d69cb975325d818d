"""Tables that fit a narrow terminal, and are whole where there is none."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table

_WIDE = 1000
"""Columns of an output that is no terminal: a pipe or a file cuts nothing off."""
_BORDER = 3
"""Around a column: a space on both sides, and a line."""


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Let the command say how it ends, as for all that it prints; rich exits with status 1."""
        raise BrokenPipeError


def tables_console() -> Console:
    """Make the console for tables, stdout as it is at this moment."""
    console = _Console(highlight=False)
    if sys.stdout.isatty() or os.environ.get("COLUMNS"):
        return console
    return _Console(highlight=False, width=_WIDE)


def fitting_table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], *, width: int, spare: Sequence[str]
) -> tuple[Table, list[str]]:
    """Make a table that is not wider than a terminal, if that can be; and name what is left out.

    Args:
        columns: Their heads.
        rows: What is in them, of each row in their order; a cell may have several lines.
        width: Characters of a line.
        spare: Columns that may be left out, in this order, until the others have room. What
            then is still too wide is folded, never cut.
    """
    widths = {
        head: max(cell_len(line) for cell in (head, *cells) for line in cell.split("\n")) + _BORDER
        for head, *cells in zip(columns, *rows, strict=True)
    }
    left_out: list[str] = []
    for head in spare:
        if sum(widths.values()) + 1 <= width:
            break
        del widths[head]
        left_out.append(head)
    table = Table()
    for number, (head, head_width) in enumerate(widths.items()):
        # The first names the row: it is folded only where it would take more than half of a line.
        is_whole = number == 0 and head_width <= width // 2
        table.add_column(head, overflow="fold", no_wrap=is_whole)
    for row in rows:
        table.add_row(*(cell for head, cell in zip(columns, row, strict=True) if head in widths))
    return table, left_out

"""What the commands of `siren soak` have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from siren_grpc.bench.options import console

Journal = Annotated[
    Path | None, typer.Option("--journal", help="File for what is found, a JSON line an audit.")
]
ServeFlags = Annotated[
    list[str] | None,
    typer.Argument(metavar="[-- FLAGS]", help="Flags of `siren serve`, behind a --."),
]


def progress() -> Progress:
    """Return a bar with time spent and left."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )


def conclude(verdict: dict[str, Any]) -> None:
    """Print a verdict. Raises typer.Exit with status 1 unless it is `passed`."""
    out = Console()
    for name, value in verdict.items():
        if name != "faults":
            out.print(f"{name}: {value}", markup=False, highlight=False, soft_wrap=True)
    for fault in verdict["faults"]:
        out.print(f"  {fault}", markup=False, highlight=False, soft_wrap=True)
    if verdict["verdict"] != "passed":
        raise typer.Exit(1)

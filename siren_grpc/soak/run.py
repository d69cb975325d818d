"""What `siren soak churn` and `stream` do alike: run against a server, keep a journal, judge."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from siren_grpc.bench import report
from siren_grpc.bench.console import conclude, console, fail, print_figures
from siren_grpc.bench.server_process import ServerDidNotStart
from siren_grpc.soak.journal import Journal
from siren_grpc.soak.watched_server import NoCensus, WatchedServer


class Report(Protocol):
    """What a run has found."""

    @property
    def faults(self) -> list[str]:
        """Empty when the server has passed."""
        ...

    def as_json(self) -> dict[str, Any]:
        """Return its figures."""
        ...


Play = Callable[[WatchedServer, Journal, Callable[[float], None]], Coroutine[Any, Any, Report]]
"""Plays against a server and writes a journal; told how much is done, in the unit of the bar."""


def run(
    name: str,
    play: Play,
    *,
    settings: Mapping[str, Any],
    serve_flags: Sequence[str],
    journal: Path | None,
    unit: str,
    total: float,
) -> None:
    """Start a server, play against it and print the verdict.

    unit, total: of the progress bar. Raises typer.Exit with status 1 unless it has passed.
    """
    with closing(Journal(journal)) as lines:
        settings = {**settings, "serve_flags": serve_flags}
        lines.write(**report.new_report(f"soak {name}", settings))
        try:
            with closing(WatchedServer(serve_flags)) as server, _progress() as bar:
                task = bar.add_task(unit, total=round(total))

                def tell(done: float) -> None:
                    bar.update(task, completed=round(done))

                found = asyncio.run(play(server, lines, tell))
        except (ServerDidNotStart, NoCensus) as error:
            raise fail(str(error)) from None
        verdict = {"verdict": "failed" if found.faults else "passed", **found.as_json()}
        lines.write(**verdict, faults=found.faults)
    print_figures(verdict)
    conclude(found.faults, "nothing is lost or left over")


def _progress() -> Progress:
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

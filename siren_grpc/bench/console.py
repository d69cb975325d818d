"""What commands of `siren bench`, `soak` and `abuse` do alike: prepare, and tell how it went."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from siren_grpc.bench.audio import UnusableAudio, load_recordings
from siren_grpc.bench.server_process import ServerDidNotStart, ServerProcess
from siren_grpc.domain.work import Samples

console = Console(stderr=True, emoji=False)
"""For progress and warnings; the tables go to stdout."""
_MOST_FAULTS = 50


def fail(message: str, *, status: int = 1) -> typer.Exit:
    """Say what is wrong and return the exit to raise, of a status."""
    console.print(message, style="red", markup=False, soft_wrap=True)
    return typer.Exit(status)


def exit_on_sigterm() -> None:
    """End with an exception when SIGTERM comes, so that the server that was started ends too."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))


def recordings_of(paths: Sequence[Path] | None, *, sample_rate_hertz: int) -> list[Samples]:
    """Read the recordings of `--audio`, as `load_recordings` does. Raises typer.Exit."""
    try:
        return load_recordings(paths or [], sample_rate_hertz=sample_rate_hertz)
    except UnusableAudio as error:
        raise fail(str(error)) from None


def start_server(
    flags: Sequence[str], on_line: Callable[[str], object] = lambda line: None
) -> ServerProcess:
    """Start `siren serve` with flags. on_line: told each line of its log. Raises typer.Exit."""
    try:
        return ServerProcess.siren(flags, on_line)
    except ServerDidNotStart as error:
        raise fail(str(error)) from None


def check_serving(target: str) -> None:
    """Ask the server of `--server` whether it serves. Raises typer.Exit when it does not."""
    from siren_client import ServingStatus, SirenClient, SirenError

    try:
        with SirenClient(target) as client:
            status = client.health()
    except SirenError as error:
        raise fail(f"no server to measure at {target}: {error}") from None
    if status is not ServingStatus.SERVING:
        raise fail(
            f"the server at {target} says {status.name}; it may be loading its model: "
            f"`siren health --server {target} --wait 60` waits for it"
        )


def spinner() -> Progress:
    """Return what shows a task and its time, where its end is not known."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    return Progress(*columns, console=console, transient=True)


def print_figures(figures: Mapping[str, Any]) -> None:
    """Print figures by name, a line each."""
    out = Console()
    width = max(map(len, figures))
    for name, value in figures.items():
        out.print(f"{name:<{width}}  {value}", markup=False, highlight=False, soft_wrap=True)


def conclude(faults: Sequence[str], held: str) -> None:
    """Print the verdict. Raises typer.Exit with status 1 when there are faults.

    held: what has been shown where there is none.
    """
    out = Console()
    for fault in faults[:_MOST_FAULTS]:
        out.print(fault, style="red", markup=False, soft_wrap=True)
    if faults:
        out.print(f"failed: {len(faults)} faults", style="red", highlight=False)
        raise typer.Exit(1)
    out.print(f"held: {held}", style="green")

"""What the commands of `siren abuse` have in common."""

from __future__ import annotations

import importlib.util
from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from siren_grpc.bench.options import fail
from siren_grpc.bench.server_process import ServerDidNotStart, ServerProcess

ServeFlags = Annotated[
    list[str] | None,
    typer.Argument(metavar="[-- FLAGS]", help="Flags of `siren serve`, behind a --."),
]
SERVER_FAULTS = ("Traceback", "Task was destroyed", "never retrieved", " ERROR ", "CRITICAL")
"""What the log of a server must not say of abuse: it is the clients' fault."""


def need_http2() -> None:
    """Say what to install when HTTP/2 by hand is not there. Raises typer.Exit."""
    if not all(importlib.util.find_spec(name) for name in ("hpack", "hyperframe")):
        raise fail("this command needs hpack and hyperframe: pip install 'siren-grpc[abuse]'")


class LogFaults:
    """Counts the lines of a server's log that tell of a fault of its own."""

    def __init__(self) -> None:
        """Start with none."""
        self.lines: Counter[str] = Counter()

    def read(self, line: str) -> None:
        """Take a line in; called from the thread that reads the log."""
        if any(fault in line for fault in SERVER_FAULTS):
            self.lines[line.split(": ", 1)[-1].strip()[:200]] += 1

    def faults(self) -> list[str]:
        """Return them as violations."""
        return [f"the server's log, {n} times: {line}" for line, n in self.lines.most_common(20)]


def start_server(flags: Sequence[str], log: LogFaults) -> ServerProcess:
    """Start a server. Raises typer.Exit."""
    # Its sessions are counted out afterwards: none is to be refused for want of time.
    is_given = any(flag.startswith("--max-load") for flag in flags)
    try:
        return ServerProcess.siren(
            flags if is_given else ["--max-load", "0", *flags], on_line=log.read
        )
    except ServerDidNotStart as error:
        raise fail(str(error)) from None


def latency_row(table: Table, name: str, found: dict[str, float] | None) -> None:
    """Add a row of p50, p95, p99 and the largest, in milliseconds."""
    keys = ("p50", "p95", "p99", "max")
    table.add_row(name, *(f"{found[key]:.0f}" if found else "" for key in keys))


def conclude(faults: Sequence[str], what: str) -> None:
    """Print the verdict. Raises typer.Exit with status 1 when there are faults."""
    console = Console()
    for fault in faults[:50]:
        console.print(fault, style="red", markup=False, soft_wrap=True)
    if faults:
        console.print(f"{len(faults)} violations", style="red")
        raise typer.Exit(1)
    console.print(f"held: {what}", style="green")


def mib(n_bytes: float) -> str:
    """Return bytes as MiB."""
    return f"{n_bytes / 2**20:.0f} MiB"


Result = dict[str, Any]

"""What the commands of `siren abuse` have in common."""

from __future__ import annotations

import importlib.util
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from siren_grpc.bench.console import fail, start_server
from siren_grpc.bench.serve_flags import with_defaults
from siren_grpc.bench.server_process import ServerProcess

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
        self._lines: Counter[str] = Counter()

    def read(self, line: str) -> None:
        """Take a line in; called from the thread that reads the log."""
        if any(fault in line for fault in SERVER_FAULTS):
            self._lines[line.split(": ", 1)[-1].strip()[:200]] += 1

    def faults(self) -> list[str]:
        """Return them as faults of the server."""
        return [f"the server's log, {n} times: {line}" for line, n in self._lines.most_common(20)]


def start_victim(flags: Sequence[str], log: LogFaults) -> ServerProcess:
    """Start a server to attack. Raises typer.Exit."""
    # Its sessions are counted out afterwards: none is to be refused for want of time.
    return start_server(with_defaults(flags, {"--max-load": 0}), log.read)


def outcome_table(title: str, what: str, outcomes: Mapping[str, Mapping[str, int]]) -> Table:
    """Lay out how often each outcome was, the most frequent first. what: the outcomes are of."""
    table = Table(title=title)
    for name in (what, "outcome", "times"):
        table.add_column(name, justify="right" if name == "times" else "left")
    for name, found in outcomes.items():
        for i, (label, n) in enumerate(sorted(found.items(), key=lambda item: -item[1])):
            table.add_row("" if i else name, label, str(n))
        table.add_section()
    return table


def latency_table(title: str, what: str, rows: Mapping[str, Mapping[str, float] | None]) -> Table:
    """Lay out distributions in milliseconds by name; a row without figures for None."""
    table = Table(title=title)
    columns = ("p50", "p95", "p99", "max")
    for name in (what, *columns):
        table.add_column(name, justify="right")
    for name, found in rows.items():
        table.add_row(name, *(f"{found[key]:.0f}" if found else "" for key in columns))
    return table


def live_stream_table(live: Mapping[str, Any]) -> Table:
    """Lay out what an attack did to the live stream beside it."""
    return latency_table(
        f"The live stream: {live['plays']} plays, {live['texts']} transcript(s)",
        "partials' latency, ms",
        {"undisturbed": live["undisturbed_ms"], "beside the attack": live["beside_ms"]},
    )


def server_line(server: Mapping[str, Mapping[str, int]]) -> str:
    """Say what a server held before, at most and after."""
    rss, fds = server["rss_bytes"], server["fds"]
    return (
        f"server: {mib(rss['before'])} before, {mib(rss['most'])} at most, {mib(rss['after'])} "
        f"after; descriptors {fds['before']}, {fds['most']}, {fds['after']}"
    )


def mib(n_bytes: float) -> str:
    """Return bytes as MiB."""
    return f"{n_bytes / 2**20:.0f} MiB"

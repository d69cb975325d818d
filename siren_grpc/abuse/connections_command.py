"""`siren abuse connections`."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack, closing
from time import monotonic
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from siren_grpc.abuse.options import (
    LogFaults,
    ServeFlags,
    conclude,
    latency_row,
    mib,
    need_http2,
    start_server,
)
from siren_grpc.bench import report
from siren_grpc.bench.options import Audio, Json, Seed, console

HELP = """Hold many connections that use nothing they take; memory must stay bounded.

Connections that say nothing, dribble their first bytes or headers, never read, stop within a
message, send past every window, or take a session and leave it. Meanwhile a live stream must notice
nothing; afterwards the server's descriptors must be as before and all its sessions free.

Examples:

  siren abuse connections

  siren abuse connections --connections 5000 --seconds 120 -- --max-sessions 512
"""
_SESSIONS = 512
_SETTLE_S = 40.0


def connections(
    serve_flags: ServeFlags = None,
    n_connections: Annotated[int, typer.Option("--connections", min=1, help="How many.")] = 1000,
    seconds: Annotated[float, typer.Option(min=1, help="How long to hold them.")] = 60.0,
    most_mib: Annotated[
        float, typer.Option(help="Memory the server may take for them, in MiB.")
    ] = 500.0,
    quiet_s: Annotated[
        float, typer.Option(min=0, help="How long the live stream runs undisturbed before.")
    ] = 20.0,
    audio: Audio = None,
    seed: Seed = 1,
    json: Json = None,
) -> None:
    """Hold many connections that use nothing they take; memory must stay bounded."""
    need_http2()
    from siren_grpc.abuse.canary import Canary
    from siren_grpc.abuse.census import Watch, all_sessions_free
    from siren_grpc.abuse.crowd import crowd
    from siren_grpc.abuse.overload import percentiles

    log = LogFaults()
    flags = ["--max-sessions", str(_SESSIONS), *(serve_flags or [])]
    n_sessions = int(flags[len(flags) - 1 - flags[::-1].index("--max-sessions") + 1])
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with ExitStack() as stack:
        progress = stack.enter_context(Progress(*columns, console=console, transient=True))
        task = progress.add_task("starting the server", total=None)
        server = stack.enter_context(closing(start_server(flags, log)))
        watch = Watch(server.pid)
        canary = stack.enter_context(closing(Canary(server.target, audio or [])))
        progress.update(task, description=f"{n_connections} connections")

        async def run() -> tuple[dict[str, dict[str, int]], list[float]]:
            watching = asyncio.create_task(watch.run())
            moments = [monotonic()]
            await asyncio.sleep(quiet_s)
            moments.append(monotonic())
            found = await crowd(server.target, n_connections, hold_s=seconds, seed=seed)
            moments.append(monotonic())
            watching.cancel()
            return found, moments

        found, moments = asyncio.run(run())
        progress.update(task, description="counting")
        song = canary.song()
        faults = song.faults()
        gone = asyncio.run(all_sessions_free(server.target, n_sessions, deadline_s=_SETTLE_S))
        faults += [gone] if gone else []
        left = asyncio.run(watch.settle(deadline_s=_SETTLE_S))
        server.close()
        faults += log.faults()
    taken = watch.peak_rss_bytes - watch.before.rss_bytes
    if taken > most_mib * 2**20:
        faults.append(f"the server took {mib(taken)} for the connections")
    if left.fds > watch.before.fds:
        faults.append(f"{left.fds} descriptors are open, {watch.before.fds} before")
    result: dict[str, Any] = report.new_report(
        "abuse connections", {"connections": n_connections, "seconds": seconds, "seed": seed}
    )
    result |= {
        "connections": found,
        "quiet_ms": percentiles(song.latencies_ms(moments[0], moments[1])),
        "crowd_ms": percentiles(song.latencies_ms(moments[1], moments[2])),
        "rss": [watch.before.rss_bytes, watch.peak_rss_bytes, left.rss_bytes],
        "descriptors": [
            watch.before.fds,
            watch.peak_descriptors,
            left.fds,
        ],
        "faults": faults,
    }
    report.save(result, json)
    _print(result)
    conclude(faults, f"{n_connections} connections took {mib(taken)} of memory")


def _print(result: dict[str, Any]) -> None:
    out = Console()
    table = Table(title="Connections, and how they were in the end")
    for name in ("kind", "outcome", "times"):
        table.add_column(name)
    for kind, outcomes in result["connections"].items():
        for label, n in outcomes.items():
            table.add_row(kind, label, str(n))
    out.print(table)
    live = Table(title="The live stream")
    for name in ("partials' latency, ms", "p50", "p95", "p99", "max"):
        live.add_column(name, justify="right")
    latency_row(live, "undisturbed", result["quiet_ms"])
    latency_row(live, "beside them", result["crowd_ms"])
    out.print(live)
    out.print(
        "server, before, at most, after: "
        f"{', '.join(map(mib, result['rss']))}; descriptors {result['descriptors']}"
    )

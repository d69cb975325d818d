"""`siren abuse connections`."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack, closing
from functools import partial
from typing import Annotated

import typer
from rich.console import Console

from siren_grpc.abuse.options import (
    LogFaults,
    live_stream_table,
    mib,
    need_http2,
    outcome_table,
    server_line,
    start_victim,
)
from siren_grpc.bench import report
from siren_grpc.bench.console import conclude, spinner
from siren_grpc.bench.options import Audio, Json, Seed, ServeFlags
from siren_grpc.bench.serve_flags import flag_value, with_defaults

HELP = """Hold many connections that use nothing they take; memory must stay bounded.

Connections that say nothing, dribble their first bytes or headers, never read, stop within a
message, send past every window, or take a session and leave it. Meanwhile a live stream must notice
nothing; afterwards the server's descriptors must be as before and all its sessions free.

The live stream must read the same each time and keep its latency (p95 of partials: at most twice
that alone and 200 ms; not judged when it was alone, or beside the connections, for less than 10 s).

Examples:

  siren abuse connections

  siren abuse connections --connections 5000 --seconds 120 -- --max-sessions 512
"""
_SESSIONS = 512


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
    from siren_grpc.abuse import idle_connections
    from siren_grpc.abuse.side_effects import SideEffects

    log = LogFaults()
    flags = with_defaults(serve_flags or [], {"--max-sessions": _SESSIONS})
    with ExitStack() as stack:
        progress = stack.enter_context(spinner())
        task = progress.add_task("starting the server", total=None)
        server = stack.enter_context(closing(start_victim(flags, log)))
        effects = SideEffects(server.target, audio or [], pid=server.pid)
        stack.enter_context(closing(effects))
        progress.update(task, description=f"{n_connections} connections")
        hold = partial(
            idle_connections.hold, server.target, n_connections, hold_s=seconds, seed=seed
        )
        outcomes = asyncio.run(effects.observe(hold, undisturbed_s=quiet_s))
        progress.update(task, description="counting")
        asyncio.run(effects.count_out(int(flag_value(flags, "--max-sessions") or _SESSIONS)))
        server.close()
    faults = effects.faults + log.faults()
    if effects.taken_bytes > most_mib * 2**20:
        faults.append(f"the server took {mib(effects.taken_bytes)} for the connections")
    settings = {"connections": n_connections, "seconds": seconds, "seed": seed}
    result = report.new_report("abuse connections", settings)
    result |= {"connections": outcomes, **effects.as_json(), "faults": faults}
    report.save(result, json)
    out = Console()
    out.print(outcome_table("Connections, and how they were in the end", "kind", outcomes))
    out.print(live_stream_table(result["live_stream"]))
    out.print(server_line(result["server"]), soft_wrap=True)
    conclude(faults, f"{n_connections} connections took {mib(effects.taken_bytes)} of memory")

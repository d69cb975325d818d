"""`siren abuse overload`."""

from __future__ import annotations

import asyncio
from contextlib import closing
from typing import Annotated

import typer
from rich.console import Console

from siren_grpc.abuse.options import LogFaults, latency_table, start_victim
from siren_grpc.bench import report
from siren_grpc.bench.console import conclude, console
from siren_grpc.bench.options import Json, ServeFlags

HELP = """Offer twice as many live streams as the server takes.

First as many as it takes, alone; then twice as many. The streams that are taken must keep their
latency (p95 of partials: at most twice that alone and 100 ms) and their transcript, the others be
refused with OVERLOADED in under 100 ms (p95; none may take three times that). At least nine tenths
of what it takes must be taken.

Example: siren abuse overload --capacity 16
"""


def overload(
    serve_flags: ServeFlags = None,
    capacity: Annotated[int, typer.Option(min=1, help="Streams the server takes.")] = 16,
    plays: Annotated[int, typer.Option(min=1, help="Plays of the recording in a stream.")] = 2,
    refused_ms: Annotated[
        float, typer.Option(help="How soon p95 of the refused must hear it.")
    ] = 100.0,
    json: Json = None,
) -> None:
    """Offer twice as many live streams as the server takes."""
    from siren_grpc.abuse.overload import faults_of, offer

    log = LogFaults()
    console.print(f"starting a server of {capacity} sessions")
    flags = [*(serve_flags or []), f"--max-sessions={capacity}"]
    with closing(start_victim(flags, log)) as server:
        alone = asyncio.run(offer(server.target, capacity, spread_s=1.0, plays=plays))
        twice = asyncio.run(offer(server.target, 2 * capacity, spread_s=2.0, plays=plays))
    faults = log.faults() + faults_of(alone, twice, capacity=capacity, refused_ms=refused_ms)
    result = report.new_report("abuse overload", {"capacity": capacity})
    result |= {"alone": alone.as_json(), "twice": twice.as_json(), "faults": faults}
    report.save(result, json)
    rows = {
        f"partials, {capacity} offered": result["alone"]["partial_ms"],
        f"partials, {2 * capacity} offered": result["twice"]["partial_ms"],
        "refusals": result["twice"]["refused_ms"],
    }
    Console().print(latency_table(f"{capacity} sessions; latencies in ms", "streams", rows))
    conclude(faults, f"{twice.n_served} served, {len(twice.refused_ms)} refused")

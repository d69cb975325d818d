"""`siren abuse overload`."""

from __future__ import annotations

import asyncio
from contextlib import closing
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from siren_grpc.abuse.options import LogFaults, ServeFlags, conclude, latency_row, start_server
from siren_grpc.bench import report
from siren_grpc.bench.options import Json, console

HELP = """Offer twice as many live streams as the server takes.

First as many as it takes, alone; then twice as many. The streams that are taken must keep their
latency and their transcript, the others be refused with OVERLOADED in under 100 ms.

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
    from siren_grpc.abuse.overload import offer

    log = LogFaults()
    console.print(f"starting a server of {capacity} sessions")
    flags = [*(serve_flags or []), "--max-sessions", str(capacity)]
    with closing(start_server(flags, log)) as server:
        alone = asyncio.run(offer(server.target, capacity, spread_s=1.0, plays=plays))
        twice = asyncio.run(offer(server.target, 2 * capacity, spread_s=2.0, plays=plays))
    faults = log.faults()
    if alone.n_served != capacity:
        faults.append(f"{alone.n_served} of {capacity} streams were served alone: {alone.refusals}")
    if len(set(alone.texts + twice.texts)) != 1:
        faults.append(f"transcripts differ: {set(alone.texts + twice.texts)}")
    if twice.n_served + twice.refusals.get("OVERLOADED", 0) != 2 * capacity:
        faults.append(f"streams ended otherwise than served or OVERLOADED: {twice.refusals}")
    refused = twice.to_json()["refused_ms"]
    if refused is None:
        faults.append("nothing was refused")
    elif refused["p95"] > refused_ms:
        faults.append(f"the refused heard it after {refused['p95']:.0f} ms (p95)")
    result: dict[str, Any] = report.new_report("abuse overload", {"capacity": capacity})
    result |= {"alone": alone.to_json(), "twice": twice.to_json(), "faults": faults}
    report.save(result, json)
    table = Table(title=f"{capacity} sessions; latencies in ms")
    for name in ("streams", "p50", "p95", "p99", "max"):
        table.add_column(name, justify="right")
    latency_row(table, f"partials, {capacity} offered", result["alone"]["partial_ms"])
    latency_row(table, f"partials, {2 * capacity} offered", result["twice"]["partial_ms"])
    latency_row(table, "refusals", refused)
    Console().print(table)
    conclude(faults, f"{twice.n_served} served, {len(twice.refused_ms)} refused")

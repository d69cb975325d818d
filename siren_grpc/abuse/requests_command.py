"""`siren abuse requests`."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack, closing
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
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

if TYPE_CHECKING:
    from siren_grpc.abuse.canary import Song
    from siren_grpc.abuse.census import Watch
    from siren_grpc.abuse.storm import StormReport

HELP = """Send generated bad requests; a live stream beside them must notice nothing.

Damaged messages, several members of a oneof or none, wrong order, extreme numbers in every field,
odd configs and audio; and below the calls truncated and forbidden frames, floods, resets, endless
headers, gzip bombs, connections that vanish. Each must get its defined error, or be closed. Then
the server is counted: all sessions free, descriptors as before, no fault in its log.

A request is its seed and number: --only makes one of them again.

Examples:

  siren abuse requests

  siren abuse requests --requests 1000 --target 127.0.0.1:50051

  siren abuse requests --seed 7 --only 4711
"""
_SETTLE_S = 40.0
_TELL_EVERY = 5000
"""Requests between two lines of progress where there is no bar."""


def _of_this_machine(target: str | None) -> str | None:
    """Return a target. Raises typer.BadParameter for one elsewhere: this is no weapon."""
    from siren_grpc.server.security.setup import is_loopback

    if target is not None and not is_loopback(target.rpartition(":")[0].strip("[]") or "?"):
        raise typer.BadParameter(
            f"{target} is not an address of this machine; run this where your server runs, against "
            "127.0.0.1:PORT"
        )
    return target


def requests(
    serve_flags: ServeFlags = None,
    target: Annotated[
        str | None,
        typer.Option(
            callback=_of_this_machine,
            help="HOST:PORT of a running server of this machine. Default: start one.",
        ),
    ] = None,
    n_requests: Annotated[int, typer.Option("--requests", min=1, help="How many.")] = 100_000,
    only: Annotated[int | None, typer.Option(help="Make only the request of this number.")] = None,
    at_once: Annotated[int, typer.Option(min=1, help="Requests at the same time.")] = 16,
    seconds: Annotated[
        float, typer.Option(help="Begin no request after so long. Default: no limit.")
    ] = float("inf"),
    deadline_s: Annotated[float, typer.Option(help="For the answer to each request.")] = 20.0,
    quiet_s: Annotated[
        float, typer.Option(min=0, help="How long the live stream runs undisturbed before.")
    ] = 20.0,
    audio: Audio = None,
    seed: Seed = 1,
    json: Json = None,
) -> None:
    """Send generated bad requests; a live stream beside them must notice nothing."""
    need_http2()
    from siren_grpc.abuse.canary import Canary
    from siren_grpc.abuse.census import Watch, all_sessions_free
    from siren_grpc.abuse.storm import Storm

    sessions = max(64, 9 * at_once)  # a call of eight separate channels takes eight of them
    flags = [*(serve_flags or []), "--max-sessions", str(sessions), "--max-message-mb", "32"]
    log = LogFaults()
    indices = range(n_requests) if only is None else range(only, only + 1)
    columns = (
        *(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()),
        TimeRemainingColumn(),
    )
    with ExitStack() as stack:
        progress = stack.enter_context(Progress(*columns, console=console, transient=True))
        task = progress.add_task("starting the server", total=len(indices))
        server = None if target else stack.enter_context(closing(start_server(flags, log)))
        where = server.target if server else str(target)
        watch = Watch(server.pid) if server else None
        canary = stack.enter_context(closing(Canary(where, audio or [])))
        progress.update(task, description="undisturbed")

        def tell(n: int) -> None:
            progress.update(task, completed=n)
            if n % _TELL_EVERY == 0 and not console.is_terminal:
                console.print(f"{n} requests")

        async def run() -> tuple[StormReport, tuple[float, float, float], Song]:
            watching = asyncio.create_task(watch.run()) if watch else None
            quiet_at = monotonic()
            await asyncio.sleep(quiet_s)
            progress.update(task, description="bad requests")
            storm_at = monotonic()
            found = await Storm(where, seed=seed, deadline_s=deadline_s).run(
                indices,
                at_once=at_once,
                seconds=seconds,
                on_done=tell,
            )
            moments = quiet_at, storm_at, monotonic()
            progress.update(task, description="counting")
            song = await asyncio.to_thread(canary.song)
            if watching is not None:
                watching.cancel()
            return found, moments, song

        storm, moments, song = asyncio.run(run())
        faults = [f"request {v.index} ({v.name}): {v.fault}" for v in storm.violations]
        faults += song.faults()
        result = report.new_report("abuse requests", {"requests": len(indices), "seed": seed})
        result["storm"] = storm.to_json()
        result["canary"] = _canary(song, moments)
        if server is not None and watch is not None:
            gone = asyncio.run(all_sessions_free(where, sessions, deadline_s=_SETTLE_S))
            faults += [gone] if gone else []
            result["server"] = _holdings(watch)
            left = asyncio.run(watch.settle(deadline_s=_SETTLE_S))
            result["server"]["descriptors_after"] = left.fds
            result["server"]["rss_after"] = left.rss_bytes
            if left.fds > watch.before.fds:
                faults.append(f"{left.fds} descriptors are open, {watch.before.fds} before")
            server.close()
        faults += log.faults()
    result["faults"] = faults
    report.save(result, json)
    _print(result)
    conclude(faults, f"{storm.n_requests} bad requests, each answered as promised or closed")


def _canary(song: Song, moments: tuple[float, float, float]) -> dict[str, Any]:
    from siren_grpc.abuse.overload import percentiles

    quiet_at, storm_at, end_at = moments
    return {
        "plays": len(song.finals),
        "texts": len({text for _, text in song.finals}),
        "quiet_ms": percentiles(song.latencies_ms(quiet_at, storm_at)),
        "storm_ms": percentiles(song.latencies_ms(storm_at, end_at)),
    }


def _holdings(watch: Watch) -> dict[str, Any]:
    return {
        "rss_before": watch.before.rss_bytes,
        "rss_peak": watch.peak_rss_bytes,
        "descriptors_before": watch.before.fds,
        "descriptors_peak": watch.peak_descriptors,
    }


def _print(result: dict[str, Any]) -> None:
    out = Console()
    storm, canary = result["storm"], result["canary"]
    table = Table(title=f"{storm['requests']} bad requests in {storm['seconds']:.0f} s")
    for name in ("family", "outcome", "times"):
        table.add_column(name, justify="right" if name == "times" else "left")
    for family, outcomes in storm["outcomes"].items():
        for i, (label, n) in enumerate(sorted(outcomes.items(), key=lambda item: -item[1])):
            table.add_row("" if i else family, label, str(n))
        table.add_section()
    out.print(table)
    live = Table(title=f"The live stream: {canary['plays']} plays, {canary['texts']} transcript(s)")
    for name in ("partials' latency, ms", "p50", "p95", "p99", "max"):
        live.add_column(name, justify="right")
    latency_row(live, "undisturbed", canary["quiet_ms"])
    latency_row(live, "under abuse", canary["storm_ms"])
    out.print(live)
    if server := result.get("server"):
        out.print(
            f"server: {mib(server['rss_before'])} before, {mib(server['rss_peak'])} at most, "
            f"{mib(server['rss_after'])} after; descriptors {server['descriptors_before']}, "
            f"{server['descriptors_peak']}, {server['descriptors_after']}"
        )
    out.print(f"slowest answer: {storm['slowest_s']:.2f} s, request {storm['slowest']}")

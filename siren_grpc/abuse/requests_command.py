"""`siren abuse requests`."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack, closing
from functools import partial
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from siren_grpc.abuse.options import (
    LogFaults,
    live_stream_table,
    need_http2,
    outcome_table,
    server_line,
    start_victim,
)
from siren_grpc.bench import report
from siren_grpc.bench.console import conclude, console
from siren_grpc.bench.options import Audio, Json, Seed, ServeFlags

HELP = """Send generated bad requests; a live stream beside them must notice nothing.

Damaged messages, several members of a oneof or none, wrong order, extreme numbers in every field,
odd configs and audio; and below the calls truncated and forbidden frames, floods, resets, endless
headers, gzip bombs, connections that vanish. Each must get its defined error, or be closed. Then
the server is counted: all sessions free, descriptors as before, no fault in its log.

The live stream must read the same each time and keep its latency (p95 of partials: at most twice
that alone and 200 ms; not judged when it was alone, or beside the requests, for less than 10 s).

A request is its seed and number: --only makes one of them again.

Examples:

  siren abuse requests

  siren abuse requests --requests 1000 --server 127.0.0.1:50051

  siren abuse requests --seed 7 --only 4711
"""
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
            "--server",
            metavar="HOST:PORT",
            callback=_of_this_machine,
            help="A running server of this machine. Default: start one.",
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
    from siren_grpc.abuse.fuzzer import Fuzzer
    from siren_grpc.abuse.side_effects import SideEffects

    sessions = max(64, 9 * at_once)  # a call of eight separate channels takes eight of them
    flags = [*(serve_flags or []), f"--max-sessions={sessions}", "--max-message-mb=32"]
    log = LogFaults()
    indices = range(n_requests) if only is None else range(only, only + 1)
    with ExitStack() as stack:
        progress = stack.enter_context(_progress())
        task = progress.add_task("starting the server", total=len(indices))
        server = None if target else stack.enter_context(closing(start_victim(flags, log)))
        where, pid = (server.target, server.pid) if server else (str(target), None)
        effects = stack.enter_context(closing(SideEffects(where, audio or [], pid=pid)))
        progress.update(task, description="the live stream alone")
        fuzz = partial(
            Fuzzer(where, seed=seed, deadline_s=deadline_s).run,
            indices,
            at_once=at_once,
            seconds=seconds,
            on_done=partial(_tell, progress, task),
        )
        found = asyncio.run(effects.observe(fuzz, undisturbed_s=quiet_s))
        progress.update(task, description="counting")
        asyncio.run(effects.count_out(sessions))
        if server is not None:
            server.close()
    faults = [f"request {v.index} ({v.name}): {v.fault}" for v in found.violations]
    faults += effects.faults + log.faults()
    result = report.new_report("abuse requests", {"requests": len(indices), "seed": seed})
    result |= {"requests": found.as_json(), **effects.as_json(), "faults": faults}
    report.save(result, json)
    _print(result)
    conclude(faults, f"{found.n_requests} bad requests, each answered as promised or closed")


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, TimeRemainingColumn(), console=console, transient=True)


def _tell(progress: Progress, task: TaskID, n: int) -> None:
    progress.update(task, completed=n, description="bad requests")
    if n % _TELL_EVERY == 0 and not console.is_terminal:
        console.print(f"{n} requests")


def _print(result: dict[str, Any]) -> None:
    out = Console()
    requests = result["requests"]
    title = f"{requests['requests']} bad requests in {requests['seconds']:.0f} s"
    out.print(outcome_table(title, "family", requests["outcomes"]))
    out.print(live_stream_table(result["live_stream"]))
    if "server" in result:
        out.print(server_line(result["server"]), soft_wrap=True)
    out.print(f"slowest answer: {requests['slowest_s']:.2f} s, request {requests['slowest']}")

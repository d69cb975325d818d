"""`siren soak churn`."""

from __future__ import annotations

import asyncio
from contextlib import closing
from typing import Annotated

import typer

from siren_grpc.bench import report
from siren_grpc.bench.audio import UnusableAudio, load_recordings
from siren_grpc.bench.options import Audio, Seed, fail
from siren_grpc.soak.options import Journal, ServeFlags, conclude, progress

HELP = """Open and close sessions by the hundred thousand, and count the server out.

Starts a server and runs short sessions against it, many at once over few connections: half-closed,
ended, finalized, recordings, refused, resumed by nobody, and one in ten cancelled at a random
byte. Every --every sessions it waits until nobody is there and counts slots, sessions, tasks,
threads, file descriptors and memory of each process of the server. The same audio must read the
same every time. The exit status is 1 when something is left over, has grown or was told wrongly.

Examples:

  siren soak churn

  siren soak churn --sessions 20000 --journal churn.jsonl

  siren soak churn -- --front-ends 4 --max-sessions 512
"""


def churn(
    serve_flags: ServeFlags = None,
    sessions: Annotated[int, typer.Option(min=1, help="Sessions in all.")] = 1_000_000,
    at_once: Annotated[int, typer.Option(min=1, help="Sessions that run together.")] = 48,
    connections: Annotated[int, typer.Option(min=1, help="Connections they share.")] = 4,
    every: Annotated[int, typer.Option(min=1, help="Sessions between two audits.")] = 1000,
    warm_up: Annotated[
        int | None,
        typer.Option(help="Sessions before memory must stay flat. Default: a tenth of all."),
    ] = None,
    bound_percent: Annotated[
        float, typer.Option(min=0, help="How much a process's memory may grow behind that.")
    ] = 1.0,
    audio: Audio = None,
    seed: Seed = 1,
    journal: Journal = None,
) -> None:
    """Open and close sessions by the hundred thousand, and count the server out."""
    try:
        recordings = load_recordings(audio or [], sample_rate_hertz=16000)
    except UnusableAudio as error:
        raise fail(str(error)) from None
    from siren_grpc.bench.server_process import ServerDidNotStart
    from siren_grpc.soak.churn import ChurnSettings, play, verdict
    from siren_grpc.soak.journal import Journal as Lines
    from siren_grpc.soak.script import cut_clips
    from siren_grpc.soak.watched_server import NoCensus, WatchedServer

    settings = ChurnSettings(
        sessions=sessions,
        at_once=at_once,
        connections=connections,
        every=every,
        warm_up=sessions // 10 if warm_up is None else warm_up,
        bound_percent=bound_percent,
        seed=seed,
    )
    flags = serve_flags or []
    for name, value in (("--max-sessions", str(2 * at_once)), ("--resume-grace-s", "0.5")):
        if name not in flags:
            flags = [*flags, name, value]
    shown = {
        "sessions": sessions,
        "at_once": at_once,
        "connections": connections,
        "every": every,
        "warm_up": settings.warm_up,
        "bound_percent": bound_percent,
        "serve_flags": flags,
        "seed": seed,
    }
    clips = cut_clips(recordings[0], sample_rate_hertz=16000, seed=seed)
    with closing(Lines(journal)) as lines:
        lines.write(**report.new_report("soak churn", shown))
        try:
            with closing(WatchedServer(flags)) as server, progress() as bar:
                task = bar.add_task("sessions", total=sessions)
                found = asyncio.run(
                    play(server, clips, settings, lines, lambda n: bar.advance(task, n))
                )
        except (ServerDidNotStart, NoCensus) as error:
            raise fail(str(error)) from None
        result = verdict(found)
        lines.write(**result)
    conclude(result)

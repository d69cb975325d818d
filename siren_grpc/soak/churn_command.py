"""`siren soak churn`."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import Annotated

import typer

from siren_grpc.bench.console import recordings_of
from siren_grpc.bench.options import Audio, Seed, ServeFlags
from siren_grpc.bench.serve_flags import with_defaults
from siren_grpc.soak.options import JournalFile

HELP = """Open and close sessions by the hundred thousand, and count the server out.

Starts a server and runs short sessions against it, many at once over few connections: half-closed,
ended, finalized, recordings, refused, resumed by nobody, and one in ten cancelled at a random
byte. Every --every sessions it waits until nobody is there and counts slots, sessions, tasks,
threads, file descriptors and memory of each process of the server. The same audio must read the
same every time. The exit status is 1 when something is left over, has grown, could not be measured
or was told wrongly.

Examples:

  siren soak churn

  siren soak churn --sessions 20000 --journal churn.jsonl

  siren soak churn --sessions 100000 --cancelled-percent 0

  siren soak churn -- --front-ends 4 --max-sessions 512
"""
_HERTZ = 16000
_EVERY = 1000
_LEAST_AUDITS = 20
"""Of a run that is too short for one every so many sessions."""


def churn(
    serve_flags: ServeFlags = None,
    sessions: Annotated[int, typer.Option(min=1, help="Sessions in all.")] = 1_000_000,
    at_once: Annotated[int, typer.Option(min=1, help="Sessions that run together.")] = 48,
    connections: Annotated[int, typer.Option(min=1, help="Connections they share.")] = 4,
    every: Annotated[
        int | None,
        typer.Option(
            min=1, help="Sessions between two audits. Default: a twentieth of all, at most 1000."
        ),
    ] = None,
    warm_up: Annotated[
        int | None,
        typer.Option(help="Sessions before memory must stay flat. Default: a tenth of all."),
    ] = None,
    bound_percent: Annotated[
        float, typer.Option(min=0, help="How much a process's memory may grow behind that.")
    ] = 1.0,
    cancelled_percent: Annotated[
        float,
        typer.Option(
            min=0,
            max=100,
            help="Sessions that are cancelled. 0 shows what the server alone leaves behind: "
            "grpcio keeps some memory of each call that its client cancels (grpc/grpc#43360).",
        ),
    ] = 10.0,
    audio: Audio = None,
    seed: Seed = 1,
    journal: JournalFile = None,
) -> None:
    """Open and close sessions by the hundred thousand, and count the server out."""
    (recording, *_) = recordings_of(audio, sample_rate_hertz=_HERTZ)
    from siren_grpc.soak.churn import ChurnSettings, play
    from siren_grpc.soak.run import run
    from siren_grpc.soak.session_plan import cut_clips

    settings = ChurnSettings(
        sessions=sessions,
        at_once=at_once,
        connections=connections,
        every=max(1, min(_EVERY, sessions // _LEAST_AUDITS)) if every is None else every,
        warm_up=sessions // 10 if warm_up is None else warm_up,
        bound_percent=bound_percent,
        cancelled_percent=cancelled_percent,
        seed=seed,
    )
    clips = cut_clips(recording, sample_rate_hertz=_HERTZ, seed=seed)
    defaults = {"--max-sessions": 2 * at_once, "--resume-grace-s": 0.5}
    run(
        "churn",
        partial(play, clips, settings),
        settings=asdict(settings),
        serve_flags=with_defaults(serve_flags or [], defaults),
        journal=journal,
        unit="sessions",
        total=sessions,
    )

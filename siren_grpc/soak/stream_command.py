"""`siren soak stream`."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Annotated

import typer

from siren_grpc.bench.console import fail, recordings_of
from siren_grpc.bench.options import Audio, Seed, ServedDecoder, ServeFlags
from siren_grpc.bench.serve_flags import with_defaults
from siren_grpc.soak.options import JournalFile

HELP = """Play a day of audio in one stream, as fast as it goes, hours of digital silence in it.

Starts a server and streams recordings and pauses to it over gRPC; utterances end softly, so that
the model's state grows as old as the stream. Every ten minutes of audio, or more often, it notes
the memory of each process, the mean step and its CPU time, and looks for the words where they are
known to be (from the recordings played alone). The exit status is 1 when memory or steps grow or
could not be measured, words drift, are heard in the silence, are too few before it, or are heard
worse behind it.

Examples:

  siren soak stream

  siren soak stream --hours 3 --silence-hours 0.5 --decoder rnnt --journal stream.jsonl
"""
_WINDOW_S = 600.0
_LEAST_AUDITS = 36
"""Enough in the shortest stream to judge its steps, those of the silence apart."""


def stream(
    serve_flags: ServeFlags = None,
    hours: Annotated[float, typer.Option(min=0.02, help="Audio of the stream.")] = 24.0,
    silence_hours: Annotated[
        float, typer.Option(min=0, help="Of it digital silence, in the middle.")
    ] = 2.0,
    window_s: Annotated[
        float | None,
        typer.Option(
            min=5,
            help="Seconds of audio between two audits. Default: of 36 in all, but at most 600.",
        ),
    ] = None,
    decoder: ServedDecoder = None,
    memory_percent: Annotated[
        float,
        typer.Option(min=0, help="How much a process may grow behind ten minutes of audio."),
    ] = 1.0,
    step_percent: Annotated[
        float,
        typer.Option(min=0, help="How much longer a step may take; more if others work here."),
    ] = 10.0,
    audio: Audio = None,
    seed: Seed = 1,
    journal: JournalFile = None,
) -> None:
    """Play a day of audio in one stream, as fast as it goes, hours of digital silence in it."""
    if silence_hours >= hours:
        raise typer.BadParameter("the silence must be shorter than the stream")
    recordings = recordings_of(audio, sample_rate_hertz=16000)
    import grpc.aio

    from siren_grpc.soak.long_stream import LongStream, LongStreamSettings
    from siren_grpc.soak.run import run

    settings = LongStreamSettings(
        hours=hours,
        silence_hours=silence_hours,
        window_s=min(_WINDOW_S, hours * 3600 / _LEAST_AUDITS) if window_s is None else window_s,
        decoder=decoder,
        memory_percent=memory_percent,
        step_percent=step_percent,
        seed=seed,
    )
    try:
        run(
            "stream",
            lambda *given: LongStream(recordings, settings, *given).play(),
            settings=asdict(settings),
            serve_flags=with_defaults(serve_flags or [], {"--max-sessions": 4}),
            journal=journal,
            unit="seconds of audio",
            total=hours * 3600,
        )
    except grpc.aio.AioRpcError as error:
        raise fail(f"the stream failed: {error.code().name} {error.details()}") from None
    except asyncio.InvalidStateError as error:
        raise fail(f"the stream failed: {error}") from None

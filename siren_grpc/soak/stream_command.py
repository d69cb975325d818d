"""`siren soak stream`."""

from __future__ import annotations

import asyncio
from contextlib import closing
from typing import Annotated

import typer

from siren_grpc.bench import report
from siren_grpc.bench.audio import UnusableAudio, load_recordings
from siren_grpc.bench.options import Audio, Seed, fail
from siren_grpc.soak.options import Journal, ServeFlags, conclude, progress

HELP = """Play a day of audio in one stream, as fast as it goes, hours of digital silence in it.

Starts a server and streams recordings and pauses to it over gRPC; utterances end softly, so that
the model's state grows as old as the stream. Every ten minutes of audio it notes the memory of
each process, the mean step and its CPU time, and looks for the words where they are known to be
(from the recordings played alone). The exit status is 1 when memory or steps grow, words drift,
are heard in the silence, or are heard worse behind it.

Examples:

  siren soak stream

  siren soak stream --hours 3 --silence-hours 0.5 --decoder rnnt --journal stream.jsonl
"""


def stream(
    serve_flags: ServeFlags = None,
    hours: Annotated[float, typer.Option(min=0.02, help="Audio of the stream.")] = 24.0,
    silence_hours: Annotated[
        float, typer.Option(min=0, help="Of it digital silence, in the middle.")
    ] = 2.0,
    window_s: Annotated[
        float, typer.Option(min=5, help="Seconds of audio between two audits.")
    ] = 600.0,
    decoder: Annotated[str | None, typer.Option(help="rnnt or ctc. Default: the server's.")] = None,
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
    journal: Journal = None,
) -> None:
    """Play a day of audio in one stream, as fast as it goes, hours of digital silence in it."""
    if silence_hours >= hours:
        raise typer.BadParameter("the silence must be shorter than the stream")
    try:
        recordings = load_recordings(audio or [], sample_rate_hertz=16000)
    except UnusableAudio as error:
        raise fail(str(error)) from None
    import grpc.aio

    from siren_grpc.bench.server_process import ServerDidNotStart
    from siren_grpc.soak.day import Day, DaySettings, verdict
    from siren_grpc.soak.journal import Journal as Lines
    from siren_grpc.soak.watched_server import NoCensus, WatchedServer

    settings = DaySettings(
        hours=hours,
        silence_hours=silence_hours,
        window_s=window_s,
        decoder=decoder,
        memory_percent=memory_percent,
        step_percent=step_percent,
        seed=seed,
    )
    flags = serve_flags or []
    if "--max-sessions" not in flags:
        flags = [*flags, "--max-sessions", "4"]
    shown = {
        "hours": hours,
        "silence_hours": silence_hours,
        "window_s": window_s,
        "decoder": decoder,
        "memory_percent": memory_percent,
        "step_percent": step_percent,
        "serve_flags": flags,
        "seed": seed,
    }
    with closing(Lines(journal)) as lines:
        lines.write(**report.new_report("soak stream", shown))
        try:
            with closing(WatchedServer(flags)) as server, progress() as bar:
                task = bar.add_task("seconds of audio", total=round(hours * 3600))
                day = Day(
                    server,
                    recordings,
                    settings,
                    lines,
                    lambda done: bar.update(task, completed=round(done)),
                )
                found = asyncio.run(day.play())
        except (ServerDidNotStart, NoCensus) as error:
            raise fail(str(error)) from None
        except grpc.aio.AioRpcError as error:
            raise fail(f"the stream failed: {error.code().name} {error.details()}") from None
        result = verdict(found)
        lines.write(**result)
    conclude(result)

"""`siren bench long`."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from siren_grpc.bench import report
from siren_grpc.bench.console import console, fail, recordings_of
from siren_grpc.bench.options import (
    Audio,
    ChunkFrames,
    Device,
    Json,
    Model,
    Seed,
    Threads,
)

HELP = """Show that a step costs the same after hours: one stream, played as fast as it goes.

Prints the median step, the memory of the process and the state of the stream in the first
and in the last minute of audio; --json has every minute.

Examples:

  siren bench long

  siren bench long --hours 0.5 --decoder rnnt --json long.json
"""


def long(
    hours: Annotated[float, typer.Option(min=0.005, help="Audio of the stream.")] = 3.0,
    model: Model = "siren-mini-en",
    chunk_frames: ChunkFrames = 7,
    decoder: Annotated[str | None, typer.Option(help="rnnt or ctc. Default: the model's.")] = None,
    threads: Threads = 0,
    device: Device = "auto",
    finalize: Annotated[
        bool, typer.Option(help="End an utterance at each pause; else it is all one.")
    ] = True,
    audio: Audio = None,
    seed: Seed = 1,
    json: Json = None,
) -> None:
    """Show that a step costs the same after hours: one stream, played as fast as it goes."""
    from siren_grpc.bench.engine_adapter import lane_of, load_model, quiet_nemo
    from siren_grpc.bench.long_run import play_long

    quiet_nemo()
    try:
        loaded = load_model(model, device=device, threads=threads)
        info = loaded.backend(1).info
        lane = lane_of(info, chunk_frames, decoder)
    except (ValueError, OSError) as error:
        raise fail(str(error)) from None
    recordings = recordings_of(audio, sample_rate_hertz=info.features.sample_rate_hertz)
    result = report.new_report(
        "long",
        {
            "model": info.id,
            "chunk_frames": lane.chunk_frames,
            "decoder": lane.decoder.value,
            "device": loaded.device,
            "threads": loaded.threads,
            "hours": hours,
            "finalize": finalize,
            "seed": seed,
        },
    )
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("seconds of audio", total=hours * 3600)
        result |= play_long(
            loaded,
            info,
            lane,
            recordings,
            hours=hours,
            finalize=finalize,
            seed=seed,
            progress=lambda done: progress.update(task, completed=done),
        )
    report.save(result, json)
    Console().print(report.long_table(result))

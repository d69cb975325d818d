"""`siren bench engine`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

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
    PrecisionName,
    Seed,
    Threads,
    numbers,
)

HELP = """Compare the engine, without gRPC, with NeMo 3.0's pipelines and with the bare model.

All hear the same audio with the same model and take turns of a few steps, so that noise of
the machine hits them alike. `real-time streams` = streams x chunk duration / median step.

Examples:

  siren bench engine

  siren bench engine --streams 1,16 --decoder rnnt --seconds 10 --json engine.json

  siren bench engine --model nvidia/nemotron-speech-streaming-en-0.6b --streams 1,16,64,256
"""


def engine(
    model: Model = "siren-mini-en",
    streams: Annotated[str, typer.Option(help="Batch sizes, such as 1,4,16,64.")] = "1,4,16,64",
    chunk_frames: ChunkFrames = 7,
    decoder: Annotated[
        list[str] | None,
        typer.Option(help="rnnt or ctc; repeatable. Default: all the model has."),
    ] = None,
    threads: Threads = 0,
    precision: PrecisionName = "fp32",
    cuda_graphs: Annotated[
        bool, typer.Option("--cuda-graphs", help="Siren's with its setting cuda_graphs, on a GPU.")
    ] = False,
    device: Device = "auto",
    seconds: Annotated[
        float, typer.Option(min=0.1, help="Measuring, per contestant and batch size.")
    ] = 4.0,
    audio: Audio = None,
    nemo: Annotated[bool, typer.Option(help="Compare with NeMo's cache-aware one.")] = True,
    buffered: Annotated[bool, typer.Option(help="And with its buffered pipeline.")] = True,
    stepper: Annotated[bool, typer.Option(help="Also measure it as it is served.")] = True,
    nemo_eou_ms: Annotated[
        int, typer.Option(help="Silence after which NeMo ends an utterance; -1 for never.")
    ] = 800,
    seed: Seed = 1,
    json: Json = None,
) -> None:
    """Compare the engine, without gRPC, with NeMo 3.0's pipelines and with the bare model."""
    counts = numbers(streams)
    from siren_grpc.bench.engine_adapter import lane_of, load_model, quiet_nemo
    from siren_grpc.bench.engine_bench import EngineBenchSettings, measure_batch
    from siren_grpc.domain.model import Precision

    settings = EngineBenchSettings(
        seconds=seconds,
        seed=seed,
        eou_ms=nemo_eou_ms,
        with_nemo=nemo,
        with_buffered=buffered,
        with_stepper=stepper,
    )
    quiet_nemo()
    try:
        loaded = load_model(
            model,
            device=device,
            threads=threads,
            precision=Precision(precision),
            cuda_graphs=cuda_graphs,
        )
        info = loaded.backend(1).info
        lanes = [lane_of(info, chunk_frames, kind) for kind in decoder or info.decoders]
    except (ValueError, OSError) as error:
        raise fail(str(error)) from None
    recordings = recordings_of(audio, sample_rate_hertz=info.features.sample_rate_hertz)
    result = report.new_report(
        "engine",
        {
            "model": info.id,
            "chunk_frames": chunk_frames,
            "chunk_ms": info.geometry(chunk_frames).latency_ms,
            "device": loaded.device,
            "threads": loaded.threads,
            "precision": precision,
            "cuda_graphs": cuda_graphs,
            "seconds": seconds,
            "nemo_eou_ms": nemo_eou_ms,
            "seed": seed,
        },
    )
    with Progress(console=console, transient=True) as progress:
        result["runs"] = [
            {
                "decoder": lane.decoder.value,
                "batches": [
                    _measure(
                        progress,
                        f"{lane.decoder.value}, {n_streams} streams",
                        partial(measure_batch, loaded, info, lane, recordings, n_streams, settings),
                    )
                    for n_streams in counts
                ],
            }
            for lane in lanes
        ]
    report.save(result, json)
    for table in report.engine_tables(result):
        Console().print(table)
    absent = {k: v for r in result["runs"] for b in r["batches"] for k, v in b["absent"].items()}
    for name, reason in absent.items():
        console.print(f"{name} is absent somewhere: {reason}")


def _measure(
    progress: Progress, what: str, measure: Callable[[Callable[[float], None]], dict[str, Any]]
) -> dict[str, Any]:
    """Measure one batch size; tell how far it is, and who read otherwise than we did."""
    task = progress.add_task(what, total=1.0)
    found = measure(lambda done: progress.update(task, completed=done))
    for name, n_different in found["different_words"].items():
        if n_different:
            progress.console.print(
                f"{what}: {name} read {n_different} of them otherwise than siren", style="yellow"
            )
    return found

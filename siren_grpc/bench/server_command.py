"""`siren bench server`."""

from __future__ import annotations

from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from siren_grpc.bench import report
from siren_grpc.bench.audio import UnusableAudio, load_recordings
from siren_grpc.bench.options import Audio, Json, Seed, console, fail, numbers
from siren_grpc.bench.ramp import largest_held

if TYPE_CHECKING:
    from siren_client import RecognitionOptions
    from siren_grpc.bench.server_process import ServerProcess

HELP = """Play live streams against a server and measure how long results take.

A partial's latency runs from when the packet that completed its audio was due and handed to
gRPC, a final's from FINALIZE or the end of the audio, both until the client has the result.
The generator checks itself: a run in which it sent packets late is marked invalid.

Examples:

  siren bench server --streams 1,8

  siren bench server --ramp --json server.json -- --max-batch 32

  siren bench server --target 10.0.0.5:50051 --streams 200 --processes 4
"""


def server(
    serve_flags: Annotated[
        list[str] | None,
        typer.Argument(metavar="[-- FLAGS]", help="Flags of `siren serve`, behind a --."),
    ] = None,
    target: Annotated[
        str | None, typer.Option(help="HOST:PORT of a running server. Default: start one.")
    ] = None,
    streams: Annotated[str, typer.Option(help="Numbers of streams to measure: 1,8,32.")] = "4",
    ramp: Annotated[
        bool, typer.Option(help="Then find the most streams that hold the bound.")
    ] = False,
    bound_ms: Annotated[float, typer.Option(help="What p95 of partials and finals must hold.")] = (
        200.0
    ),
    seconds: Annotated[float, typer.Option(min=1, help="Measuring, per number of streams.")] = 8.0,
    most: Annotated[int, typer.Option(min=1, help="Streams the ramp goes up to.")] = 512,
    resolution: Annotated[
        float, typer.Option(min=0.01, help="When the ramp ends: gap as a share of the number.")
    ] = 0.1,
    packet_ms: Annotated[int, typer.Option(min=1, help="Audio in a message.")] = 100,
    jitter_ms: Annotated[float, typer.Option(min=0, help="Random delay of a message.")] = 20.0,
    chunk_frames: Annotated[
        int | None, typer.Option(help="Look-ahead to ask for. Default: the server's.")
    ] = None,
    decoder: Annotated[str | None, typer.Option(help="rnnt or ctc. Default: the server's.")] = None,
    processes: Annotated[int, typer.Option(min=1, help="Processes of the load generator.")] = 1,
    lag_bound_ms: Annotated[
        float, typer.Option(help="Generator's own p99 lag beyond which a run is invalid.")
    ] = 50.0,
    empty_handler: Annotated[
        bool, typer.Option(help="Measure a server without a model, too: gRPC's own share.")
    ] = False,
    audio: Audio = None,
    seed: Seed = 1,
    json: Json = None,
) -> None:
    """Play live streams against a server and measure how long results take."""
    counts = numbers(streams)
    paths = audio or []
    try:
        load_recordings(paths, sample_rate_hertz=16000)
    except UnusableAudio as error:
        raise fail(str(error)) from None
    from siren_grpc.bench.generator import Generator
    from siren_grpc.bench.server_bench import ServerBenchSettings, Target, measure_rung
    from siren_grpc.bench.server_process import ServerDidNotStart, ServerProcess

    settings = ServerBenchSettings(
        seconds=seconds,
        packet_ms=packet_ms,
        jitter_ms=jitter_ms,
        bound_ms=bound_ms,
        lag_bound_ms=lag_bound_ms,
        recordings=paths,
        options=_options(chunk_frames, decoder),
        seed=seed,
    )
    flags = _serve_flags(serve_flags or [], most if ramp else max(counts))
    result = report.new_report(
        "server",
        {
            "streams": counts,
            "ramp": ramp,
            "bound_ms": bound_ms,
            "seconds": seconds,
            "packet_ms": packet_ms,
            "jitter_ms": jitter_ms,
            "chunk_frames": chunk_frames,
            "decoder": decoder,
            "processes": processes,
            "serve_flags": flags if target is None else None,
            "seed": seed,
        },
    )
    rungs: list[dict[str, Any]] = []
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with ExitStack() as stack:
        progress = stack.enter_context(Progress(*columns, console=console, transient=True))
        task = progress.add_task("starting the server", total=None)
        generator = stack.enter_context(closing(Generator(processes)))

        def run(where: Target, n_streams: int) -> dict[str, Any]:
            what = "empty handler" if where.is_empty_handler else "streams"
            progress.update(task, description=f"{n_streams} {what}")
            rung = measure_rung(generator, where, n_streams, settings)
            verdict = "held" if rung["held"] else ", ".join(rung["reasons"])
            progress.console.print(f"{n_streams} {what}: {verdict}")
            return rung

        def measure(n_streams: int) -> bool:
            known = next((rung for rung in rungs if rung["streams"] == n_streams), None)
            rung = known or run(under_load, n_streams)
            if known is None:
                rungs.append(rung)
            return bool(rung["held"])

        process: ServerProcess | None = None
        if target is None:
            try:
                process = stack.enter_context(closing(ServerProcess.siren(flags)))
            except ServerDidNotStart as error:
                raise fail(str(error)) from None
        under_load = Target(process.target, process.pid) if process else Target(str(target), None)
        for n_streams in counts:
            measure(n_streams)
        result["largest_held"] = (
            largest_held(measure, start=max(counts), resolution=resolution, most=most)
            if ramp
            else max((rung["streams"] for rung in rungs if rung["held"]), default=None)
        )
        if process is not None:
            process.close()
        result["rungs"] = sorted(rungs, key=lambda rung: int(rung["streams"]))
        result["empty_handler"] = []
        if empty_handler:
            with closing(ServerProcess.empty_handler(chunk_ms=80 * (chunk_frames or 7))) as idle:
                where = Target(idle.target, idle.pid, is_empty_handler=True)
                largest = result["largest_held"] or max(counts)
                result["empty_handler"].append(run(where, int(largest)))
    report.save(result, json)
    Console().print(report.server_table(result))
    Console().print(f"largest number of streams that held: {result['largest_held']}")
    if not all(rung["valid"] for rung in rungs):
        console.print(
            "some runs are invalid: the generator sent packets late. Give it more --processes, "
            "or another machine and --target.",
            style="yellow",
        )


def _options(chunk_frames: int | None, decoder: str | None) -> RecognitionOptions:
    options: RecognitionOptions = {"sample_rate_hertz": 16000}
    if chunk_frames is not None:
        options["chunk_frames"] = chunk_frames
    if decoder is not None:
        options["decoder"] = decoder
    return options


def _serve_flags(given: list[str], n_streams: int) -> list[str]:
    """Add room for all streams, and for those of the last run that are still closing.

    No stream is refused for the load it would be: how much is too much is what is measured.
    """
    added = [] if "--max-load" in given else ["--max-load", "0"]
    if "--max-sessions" not in given:
        added += ["--max-sessions", str(2 * n_streams)]
    return [*given, *added]

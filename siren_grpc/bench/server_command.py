"""`siren bench server`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress

from siren_grpc.bench import report
from siren_grpc.bench.console import (
    check_serving,
    console,
    fail,
    recordings_of,
    spinner,
    start_server,
)
from siren_grpc.bench.options import Audio, Json, Seed, ServedDecoder, ServeFlags, numbers
from siren_grpc.bench.ramp import Rungs, largest_held
from siren_grpc.bench.serve_flags import with_defaults
from siren_grpc.bench.server_process import ServerProcess

if TYPE_CHECKING:
    from siren_client import RecognitionOptions
    from siren_grpc.bench.generator import Generator
    from siren_grpc.bench.server_bench import ServerBenchSettings, Target

HELP = """Play live streams against a server and measure how long results take.

A partial's latency runs from when the packet that completed its audio was due and handed to
gRPC, a final's from FINALIZE or the end of the audio, both until the client has the result.
What is added to the mean step is told where the server's metrics are: a server started here has
them, --metrics says where those of a running one are. The generator checks itself: a run in which
it sent packets late is marked invalid. The exit status is 1 when no stream was served.

Examples:

  siren bench server --streams 1,8

  siren bench server --ramp --json server.json -- --max-batch 32

  siren bench server --server 10.0.0.5:50051 --streams 200 --processes 4
"""
_DEFAULT_CHUNK_FRAMES = 7


def server(
    serve_flags: ServeFlags = None,
    target: Annotated[
        str | None,
        typer.Option("--server", metavar="HOST:PORT", help="A running server. Default: start one."),
    ] = None,
    metrics: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Metrics of the server of --server."),
    ] = None,
    streams: Annotated[str, typer.Option(help="Numbers of streams to measure: 1,8,32.")] = "4",
    ramp: Annotated[
        bool,
        typer.Option(help="Then find the most streams that hold the bound, and measure half."),
    ] = False,
    bound_ms: Annotated[float, typer.Option(help="What p95 of partials and finals must hold.")] = (
        200.0
    ),
    seconds: Annotated[float, typer.Option(min=1, help="Measuring, per number of streams.")] = 8.0,
    most: Annotated[int, typer.Option(min=1, help="Streams the ramp goes up to.")] = 512,
    resolution: Annotated[
        float, typer.Option(min=0.01, help="When the ramp ends: gap as a share of the number.")
    ] = 0.1,
    rate: Annotated[
        int,
        typer.Option(
            min=8000,
            max=48000,
            metavar="HERTZ",
            help="Sample rate of what is sent; another than the model's is resampled.",
        ),
    ] = 16000,
    packet_ms: Annotated[int, typer.Option(min=1, help="Audio in a message.")] = 100,
    jitter_ms: Annotated[float, typer.Option(min=0, help="Random delay of a message.")] = 20.0,
    chunk_frames: Annotated[
        int | None, typer.Option(help="Look-ahead to ask for. Default: the server's.")
    ] = None,
    decoder: ServedDecoder = None,
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
    if metrics is not None and target is None:
        raise typer.BadParameter("--metrics is of a server given by --server")
    recordings_of(audio, sample_rate_hertz=rate)
    from siren_grpc.bench.generator import Generator
    from siren_grpc.bench.server_bench import ServerBenchSettings, Target

    settings = ServerBenchSettings(
        seconds=seconds,
        sample_rate_hertz=rate,
        packet_ms=packet_ms,
        jitter_ms=jitter_ms,
        bound_ms=bound_ms,
        lag_bound_ms=lag_bound_ms,
        recordings=audio or [],
        options=_recognition_options(chunk_frames, decoder),
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
            "sample_rate_hertz": rate,
            "packet_ms": packet_ms,
            "jitter_ms": jitter_ms,
            "chunk_frames": chunk_frames,
            "decoder": decoder,
            "processes": processes,
            "serve_flags": flags if target is None else None,
            "seed": seed,
        },
    )
    with ExitStack() as stack:
        progress = stack.enter_context(spinner())
        progress.add_task("starting the server", total=None)
        generator = stack.enter_context(closing(Generator(processes)))
        measure = partial(_measure, progress, generator, settings)
        with _server_under_load(target, metrics, flags) as (under_load, how_it_ended):
            rungs = Rungs(partial(measure, under_load))
            for n_streams in counts:
                rungs.holds(n_streams)
            result["largest_held"] = (
                largest_held(rungs.holds, start=max(counts), resolution=resolution, most=most)
                if ramp
                else rungs.largest_held
            )
            half = _half_load(rungs, result["largest_held"]) if ramp else None
            end = how_it_ended()
        result["half_load"] = half["streams"] if half else None
        result["rungs"] = rungs.measured
        result["empty_handler"] = []
        if empty_handler:
            chunk_ms = 80 * (chunk_frames or _DEFAULT_CHUNK_FRAMES)
            with closing(ServerProcess.empty_handler(chunk_ms=chunk_ms)) as idle:
                where = Target(idle.target, idle.pid, is_empty_handler=True)
                found = measure(where, int(result["largest_held"] or max(counts)))
            result["empty_handler"].append(found)
    report.save(result, json)
    Console().print(report.server_table(result))
    Console().print(f"largest number of streams that held: {result['largest_held']}")
    if half and half.get("added_ms"):
        Console().print(
            f"half load, {half['streams']} streams: p99 of partials is "
            f"{half['added_ms']['p99']:.0f} ms over the mean step of {half['step_ms']:.0f} ms"
        )
    if end is not None:
        raise fail(end)
    if not all(rung["valid"] for rung in result["rungs"]):
        console.print(
            "some runs are invalid: the generator sent packets late. Give it more --processes, "
            "or another machine and --server.",
            style="yellow",
        )
    if not any(rung["served"] for rung in result["rungs"]):
        errors = sorted({error for rung in result["rungs"] for error in rung["errors"]})
        raise fail(f"no stream was served: {', '.join(errors)}")


@contextmanager
def _server_under_load(
    target: str | None, metrics: str | None, flags: list[str]
) -> Iterator[tuple[Target, Callable[[], str | None]]]:
    """Yield the server that is there, or one of our own, and what says how that has ended."""
    from siren_grpc.bench.server_bench import Target
    from siren_grpc.bench.step_time import MetricsAddress, read_steps

    if target is not None:
        check_serving(target)
        if metrics is not None:
            try:
                read_steps(metrics)
            except OSError as error:
                raise fail(str(error)) from None
        yield Target(target, None, metrics), lambda: None
        return
    found = MetricsAddress()
    with closing(start_server(flags, found.read)) as process:
        yield Target(process.target, process.pid, found.address), process.how_it_ended


def _half_load(rungs: Rungs, largest_held: int | None) -> dict[str, Any] | None:
    """Return the rung of half the streams that held; None when none did."""
    return None if largest_held is None else rungs.rung(max(1, largest_held // 2))


def _measure(
    progress: Progress,
    generator: Generator,
    settings: ServerBenchSettings,
    target: Target,
    n_streams: int,
) -> dict[str, Any]:
    """Measure a rung and tell how it went."""
    from siren_grpc.bench.server_bench import measure_rung

    what = f"{n_streams} {'empty handler' if target.is_empty_handler else 'streams'}"
    progress.update(progress.task_ids[0], description=what)
    rung = measure_rung(generator, target, n_streams, settings)
    verdict = "held" if rung["held"] else ", ".join(rung["reasons"])
    progress.console.print(f"{what}: {verdict}")
    return rung


def _recognition_options(chunk_frames: int | None, decoder: str | None) -> RecognitionOptions:
    options: RecognitionOptions = {}
    if chunk_frames is not None:
        options["chunk_frames"] = chunk_frames
    if decoder is not None:
        options["decoder"] = decoder
    return options


def _serve_flags(given: list[str], n_streams: int) -> list[str]:
    """Add room for all streams, and for those of the last run that are still closing.

    No stream is refused for the load it would be: how much is too much is what is measured. The
    metrics tell how long the steps were.
    """
    own = {"--max-load": 0, "--max-sessions": 2 * n_streams, "--metrics-port": 0}
    return with_defaults(given, own)

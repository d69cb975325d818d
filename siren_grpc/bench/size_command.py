"""`siren size`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from siren_grpc.bench.capacity import Measured, NoFigures, read_report, size
from siren_grpc.bench.console import fail, print_figures

HELP = """Say how many replicas a load takes, from what was measured.

Measure on the machine you will deploy on: `siren bench server --ramp --json mine.json`. Nothing is
assumed that was not measured: without a report, --held says what a replica holds.

Examples:

  siren size --peak 500 --report mine.json

  siren size --peak 500 --report mine.json --headroom 0.3 --spare 1

  siren size --peak 2000 --held 600 --session-mib 7.5
"""


def size_deployment(
    peak: Annotated[int, typer.Option(min=1, help="Live streams at once, at most.")],
    report: Annotated[
        Path | None, typer.Option(help="JSON of `siren bench server --ramp` or `bench engine`.")
    ] = None,
    held: Annotated[
        int | None, typer.Option(min=1, help="Instead: streams that a replica holds.")
    ] = None,
    session_mib: Annotated[
        float | None, typer.Option(min=0, help="Memory of a session, from the server's log.")
    ] = None,
    chunk_frames: Annotated[
        int | None, typer.Option(help="Look-ahead of the streams; the report must have it.")
    ] = None,
    headroom: Annotated[
        float, typer.Option(min=0, max=0.95, help="Share of a replica that is left free.")
    ] = 0.3,
    spare: Annotated[int, typer.Option(min=0, help="Replicas that may be lost at once.")] = 1,
) -> None:
    """Say how many replicas a load takes, from what was measured."""
    try:
        measured = _measured(report, held, chunk_frames)
        sizing = size(measured, peak=peak, headroom=headroom, spare=spare)
    except NoFigures as error:
        raise fail(str(error)) from None
    if session_mib is not None:
        measured = replace(measured, session_bytes=round(session_mib * 2**20))
    print_figures(
        {
            "a replica holds": f"{measured.streams} streams ({measured.what})",
            "it is to carry": f"{sizing.usable} streams ({headroom:.0%} headroom)",
            "replicas": f"{sizing.replicas} for {peak} streams ({spare} spare)",
            "--max-sessions": f"{measured.streams}: more are refused before they make others late",
            "scale out at": f"{sizing.threshold} streams a replica on average: targetLoad "
            f"{sizing.threshold / measured.streams:.2f} of the chart",
            **_memory(measured),
        }
    )


def _memory(measured: Measured) -> dict[str, str]:
    """Return what is known of a replica's memory."""
    figures = {}
    if measured.replica_bytes is not None:
        figures["memory of a replica"] = f"{measured.replica_bytes / 2**30:.1f} GiB as measured"
    if (session_bytes := measured.session_bytes) is not None:
        total = session_bytes * measured.streams / 2**20
        figures["memory of its sessions"] = (
            f"{session_bytes / 2**20:.2f} MiB each, {total:.0f} MiB, beside the model"
        )
    return figures


def _measured(report: Path | None, held: int | None, chunk_frames: int | None) -> Measured:
    if (report is None) == (held is None):
        raise NoFigures("give either --report or --held; `siren bench server --ramp` measures it")
    if held is not None:
        return Measured(held, "as you say")
    if report is None:
        raise AssertionError("one of the two is given")
    try:
        found = json.loads(report.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise NoFigures(f"{report}: {error}") from None
    if not isinstance(found, dict):
        raise NoFigures(f"{report}: no report of `siren bench`")
    return read_report(found, chunk_frames=chunk_frames)

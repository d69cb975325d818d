"""From what was measured to how many replicas it takes. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, floor
from typing import Any


class NoFigures(Exception):
    """What was given does not say how many streams a replica holds; the message says what would."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What one replica can do.

    streams: live streams it holds. what: how that was found. session_bytes: memory of a session
    on the model's device. replica_bytes: memory of the server's processes under that load.
    """

    streams: int
    what: str
    session_bytes: int | None = None
    replica_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Sizing:
    """What to deploy.

    usable: streams a replica is to carry, its headroom left free. replicas: with the spare ones.
    threshold: average streams a replica at which to scale out, so that those left still carry the
    load when the spare ones are lost.
    """

    usable: int
    replicas: int
    threshold: int


def size(measured: Measured, *, peak: int, headroom: float, spare: int) -> Sizing:
    """Size a deployment.

    peak: streams at once, at most. headroom: share of what a replica holds that is left free, 0 to
    below 1. spare: replicas that may be lost, in a rollout say. Raises NoFigures when a replica
    would carry nothing.
    """
    usable = floor(measured.streams * (1 - headroom) + 1e-9)
    if usable < 1:
        raise NoFigures(
            f"a replica that holds {measured.streams} streams has none left with a headroom of "
            f"{headroom:.0%}; take less headroom, or more hardware"
        )
    needed = max(1, ceil(peak / usable))
    replicas = needed + spare
    return Sizing(usable, replicas, max(1, floor(usable * needed / replicas)))


def read_report(report: Mapping[str, Any], *, chunk_frames: int | None) -> Measured:
    """Read what `siren bench server` or `siren bench engine` has kept.

    chunk_frames: the look-ahead that streams will ask for; None for the one that was measured.
    Raises NoFigures for another report, look-ahead, or one in which nothing held.
    """
    kind, settings = report.get("benchmark"), report.get("settings", {})
    if kind not in ("server", "engine"):
        raise NoFigures("this is no report of `siren bench server --json` or `bench engine --json`")
    played = settings.get("chunk_frames")
    if chunk_frames is not None and played != chunk_frames:
        told = "the server's default" if played is None else f"chunk_frames {played}"
        raise NoFigures(
            f"the report was measured with {told}; measure yours: "
            f"siren bench {kind} --chunk-frames {chunk_frames} --json mine.json"
        )
    return _server(report) if kind == "server" else _engine(report)


def _server(report: Mapping[str, Any]) -> Measured:
    held = report.get("largest_held")
    if not held:
        raise NoFigures("no number of streams held its bound in this report")
    rungs = [rung for rung in report["rungs"] if rung["streams"] == held]
    rss = rungs[0]["server"]["rss_bytes"] if rungs else None
    bound = report["settings"]["bound_ms"]
    return Measured(held, f"held p95 under {bound:g} ms over gRPC", replica_bytes=rss)


def _engine(report: Mapping[str, Any]) -> Measured:
    best = None
    for run in report["runs"]:
        for batch in run["batches"]:
            own = batch["contestants"]["siren"]
            found = Measured(
                floor(own["real_time_streams_median"]),
                f"{run['decoder']}, the engine alone: an upper bound, without gRPC",
                session_bytes=own["session_bytes"],
            )
            if best is None or found.streams > best.streams:
                best = found
    if best is None:
        raise NoFigures("no batch was measured in this report")
    return best

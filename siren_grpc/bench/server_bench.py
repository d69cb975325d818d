"""`siren bench server`: real-time streams over gRPC, and how long their results take."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import psutil

from siren_client import RecognitionOptions
from siren_grpc.bench.generator import Generator, Load
from siren_grpc.bench.player import StreamReport
from siren_grpc.bench.statistics import figures, percentile
from siren_grpc.bench.step_time import Steps, mean_step_ms, read_steps
from siren_grpc.observe.processes import ProcessUse, family_use

_STAGGER_S = 2.0
_SETTLE_S = 1.0


@dataclass(frozen=True, slots=True)
class ServerBenchSettings:
    """What a rung plays and what it must hold.

    seconds: measured, once all streams run. bound_ms: p95 of partials and of finals.
    lag_bound_ms: p99 of how late the generator may hand packets over, else the rung is invalid.
    """

    seconds: float
    sample_rate_hertz: int
    packet_ms: int
    jitter_ms: float
    bound_ms: float
    lag_bound_ms: float
    recordings: Sequence[Path]
    options: RecognitionOptions
    seed: int


@dataclass(frozen=True, slots=True)
class Target:
    """The server under load; pid when it runs on this machine and is ours to look at.

    metrics: HOST:PORT of its metrics; None for a server that tells none.
    """

    address: str
    pid: int | None
    metrics: str | None = None
    is_empty_handler: bool = False


def measure_rung(
    generator: Generator, target: Target, n_streams: int, settings: ServerBenchSettings
) -> dict[str, Any]:
    """Play n_streams for a while and return what was seen."""
    settle_s = _STAGGER_S + _SETTLE_S
    load = Load(
        target=target.address,
        n_streams=n_streams,
        seconds=settle_s + settings.seconds,
        stagger_s=_STAGGER_S,
        sample_rate_hertz=settings.sample_rate_hertz,
        packet_ms=settings.packet_ms,
        jitter_ms=settings.jitter_ms,
        recordings=settings.recordings,
        options=settings.options,
        seed=settings.seed,
    )
    begin = generator.start(load) + settle_s
    end = begin + settings.seconds
    pids = [target.pid, *generator.pids]
    _sleep_until(begin)
    before, steps_before = [_use(pid) for pid in pids], _steps(target)
    _sleep_until(end)
    after, steps_after = [_use(pid) for pid in pids], _steps(target)
    reports = generator.collect()
    server_cores, *generator_cores = map(_cores, before, after, repeat(settings.seconds))
    rung = summarise(reports, begin, end, settings)
    rung["streams"] = n_streams
    rung["is_empty_handler"] = target.is_empty_handler
    rss_bytes = after[0].rss_bytes if after[0] is not None else None
    rung["server"] = {"cpu_cores": server_cores, "rss_bytes": rss_bytes}
    rung["generator"]["cpu_cores"] = generator_cores
    rung["step_ms"] = mean_step_ms(steps_before, steps_after)
    rung["added_ms"] = over_step(rung["partial_ms"], rung["step_ms"])
    return rung


def summarise(
    reports: Sequence[StreamReport], begin: float, end: float, settings: ServerBenchSettings
) -> dict[str, Any]:
    """Judge a rung: latencies of results that came between begin and end, and what was broken.

    begin, end: moments of the clock of the reports, in seconds.
    """
    partials = [
        [1000 * found.latency_s for found in report.partials if begin <= found.at_s < end]
        for report in reports
    ]
    finals = [1000 * f.latency_s for report in reports for f in report.finals if f.at_s >= begin]
    lags = [1000 * lag for report in reports for lag in report.lags_s]
    partial_ms = figures([latency for found in partials for latency in found])
    final_ms, lag_ms = figures(finals), figures(lags)
    late = sum(bool(found) and percentile(found, 95) > settings.bound_ms for found in partials)
    errors = Counter(report.error for report in reports if report.error is not None)
    unanswered = sum(report.n_unanswered for report in reports)
    reasons = [
        *_missed_bounds({"partial": partial_ms, "final": final_ms}, settings.bound_ms),
        *(f"{n} x {error}" for error, n in errors.items()),
        *(["finals missing"] if unanswered else []),
    ]
    # A server that refuses every stream leaves nothing to send, late or not.
    is_valid = lag_ms is None or lag_ms["p99"] <= settings.lag_bound_ms
    if not is_valid:
        reasons.append("invalid: generator too slow")
    duration = sum(report.n_sent for report in reports) * settings.packet_ms / 1000
    per_s = len(reports) / duration if duration else 0.0
    return {
        "seconds": settings.seconds,
        "partial_ms": partial_ms,
        "final_ms": final_ms,
        "late_streams": late,
        "unanswered": unanswered,
        "errors": dict(errors),
        "served": sum(report.error is None for report in reports),
        "messages_per_s": {
            "sent": sum(report.n_sent for report in reports) * per_s,
            "received": sum(report.n_received for report in reports) * per_s,
        },
        "generator": {
            "lag_ms": lag_ms,
            "held_up_s": sum(report.held_up_s for report in reports),
        },
        "valid": is_valid,
        "held": not reasons,
        "reasons": reasons,
    }


def over_step(
    latencies: Mapping[str, float] | None, step_ms: float | None
) -> dict[str, float] | None:
    """Return by how much latencies exceed the mean step: queueing and transport, in the main.

    latencies: as of `figures`. None where either is unknown. That a step was longer or shorter
    than the mean is in it, too.
    """
    if latencies is None or step_ms is None:
        return None
    return {name: ms if name == "n" else ms - step_ms for name, ms in latencies.items()}


def _missed_bounds(
    latencies: Mapping[str, Mapping[str, float] | None], bound_ms: float
) -> list[str]:
    reasons = []
    for name, found in latencies.items():
        if found is None:
            reasons.append(f"no {name}")
        elif found["p95"] > bound_ms:
            reasons.append(f"{name} p95")
    return reasons


def _sleep_until(moment: float) -> None:
    sleep(max(0.0, moment - monotonic()))


def _steps(target: Target) -> Steps | None:
    """Return the steps a server has done; None when it does not tell, or is gone."""
    try:
        return None if target.metrics is None else read_steps(target.metrics)
    except OSError:
        return None


def _use(pid: int | None) -> ProcessUse | None:
    """Return what a process and its children use; None when it is not ours, or gone."""
    try:
        return None if pid is None else family_use(pid)
    except psutil.NoSuchProcess:
        return None


def _cores(before: ProcessUse | None, after: ProcessUse | None, span_s: float) -> float | None:
    return None if before is None or after is None else (after.cpu_s - before.cpu_s) / span_s

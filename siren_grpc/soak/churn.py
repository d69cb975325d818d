"""A million sessions in compressed time: opened, ended in every way there is, counted out."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from time import monotonic
from typing import Any

from siren_grpc.soak.flatness import growth
from siren_grpc.soak.journal import Journal
from siren_grpc.soak.script import draw
from siren_grpc.soak.visitor import Visitor
from siren_grpc.soak.watched_server import ProcessCounts, WatchedServer

_QUIET_S = 60.0
_POLL_S = 0.05
_OF_STREAMS = ("sessions", "slots", "closing", "streams", "resumable")
"""Counts that are zero when nobody is there."""
_KEPT = ("tasks", "threads", "fds")
"""Counts that come back to what they were after the warm-up."""
_POOL = 8
"""Threads that asyncio's pool may have started since: it starts them one by one, and ends none."""


@dataclass(frozen=True, slots=True)
class ChurnSettings:
    """How much of what.

    at_once: sessions that run together. every: sessions between two audits. warm_up: sessions
    before memory is to stay flat. bound_percent: how flat, of each process.
    """

    sessions: int
    at_once: int
    connections: int
    every: int
    warm_up: int
    bound_percent: float
    seed: int


@dataclass(slots=True)
class ChurnReport:
    """What was found. faults: empty when the server has passed."""

    done: int = 0
    wall_s: float = 0.0
    outcomes: dict[str, int] = field(default_factory=dict)
    refused_full: int = 0
    growth_percent: dict[str, float] = field(default_factory=dict)
    """Of the memory of each process, behind the warm-up."""
    faults: list[str] = field(default_factory=list)
    n_faults: int = 0


async def play(
    server: WatchedServer,
    clips: Sequence[bytes],
    settings: ChurnSettings,
    journal: Journal,
    on_progress: Callable[[int], None],
) -> ChurnReport:
    """Run the sessions, audit by audit, until all are done or SIGINT or SIGTERM comes.

    Raises NoCensus when the server does not answer.
    """
    is_stopping = stop_on_signals()
    visitor = Visitor(server.target, clips, n_connections=settings.connections)
    random = Random(settings.seed)
    report = ChurnReport()
    started_at = monotonic()
    memory: dict[str, list[tuple[float, float]]] = {}
    baseline: list[ProcessCounts] = []
    try:
        while report.done < settings.sessions and not visitor.n_faults and not is_stopping.is_set():
            n = min(settings.every, settings.sessions - report.done)
            await _run(visitor, random, clips, n, settings.at_once, report.done, on_progress)
            report.done += n
            report.wall_s = monotonic() - started_at
            counts, quiet_s = await quieten(server)
            if not baseline and report.done >= min(settings.warm_up, settings.sessions):
                baseline = counts
            for i, process in enumerate(counts):
                name = f"{process.process} {i}" if i else process.process
                memory.setdefault(name, []).append((report.done, process.use.rss_bytes))
            _take_over(report, visitor)
            journal.write(
                sessions=report.done,
                wall_s=round(report.wall_s, 2),
                quiet_s=round(quiet_s, 2),
                outcomes=report.outcomes,
                refused_full=report.refused_full,
                faults=report.n_faults,
                processes=[process.as_json() for process in counts],
            )
            await visitor.reconnect_one()
        await visitor.close()
        counts, _ = await quieten(server, baseline)
    finally:
        await visitor.close()
    report.faults += leaks(baseline, counts)
    for name, points in memory.items():
        grown = growth(points, since=settings.warm_up)
        if grown is not None:
            report.growth_percent[name] = round(grown.percent, 3)
            if grown.percent > settings.bound_percent:
                report.faults.append(f"memory of the {name} grew by {grown.percent:.2f} %")
    report.n_faults = max(report.n_faults, len(report.faults))
    return report


def stop_on_signals() -> asyncio.Event:
    """Return what is set when the run is asked to end early, with a verdict on what it did."""
    is_stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, is_stopping.set)
    return is_stopping


def leaks(baseline: Sequence[ProcessCounts], now: Sequence[ProcessCounts]) -> list[str]:
    """Say what an idle server holds that it did not hold before, process by process."""
    found = []
    for before, after in zip(baseline, now, strict=False):
        for name in _OF_STREAMS:
            if left := after.counts.get(name, 0):
                found.append(f"{after.process}: {left:g} {name} left")
        for name in _KEPT:
            was, is_now = _figure(before, name), _figure(after, name)
            if is_now > was + (_POOL if name == "threads" else 0):
                found.append(f"{after.process}: {is_now:g} {name}, {was:g} after the warm-up")
    return found


def _figure(process: ProcessCounts, name: str) -> float:
    return process.use.fds if name == "fds" else process.counts[name]


async def _run(
    visitor: Visitor,
    random: Random,
    clips: Sequence[bytes],
    n: int,
    at_once: int,
    first: int,
    on_progress: Callable[[int], None],
) -> None:
    plans = iter([(draw(random, clips), first + i) for i in range(n)])

    async def work() -> None:
        for plan, number in plans:
            await visitor.visit(plan, number)
            on_progress(1)

    await asyncio.gather(*(work() for _ in range(at_once)))


async def quieten(
    server: WatchedServer, baseline: Sequence[ProcessCounts] = ()
) -> tuple[list[ProcessCounts], float]:
    """Return the counts once an idle server's are what they are to be, and how long that took.

    That is: nothing of streams, and no more of the rest than in the baseline; what has just ended
    takes a moment to go. After a minute the counts are returned as they are.
    """
    started_at = monotonic()
    while True:
        counts = await asyncio.to_thread(server.count)
        waited_s = monotonic() - started_at
        is_idle = not any(process.counts.get(name, 0) for process in counts for name in _OF_STREAMS)
        if waited_s > _QUIET_S or (is_idle and not leaks(baseline, counts)):
            return counts, waited_s
        await asyncio.sleep(_POLL_S)


def _take_over(report: ChurnReport, visitor: Visitor) -> None:
    report.outcomes = dict(sorted(visitor.outcomes.items()))
    report.refused_full = visitor.n_refused_full
    report.faults, report.n_faults = list(visitor.faults), visitor.n_faults


def verdict(report: ChurnReport) -> dict[str, Any]:
    """Return a report as its journal's last line."""
    return {
        "verdict": "failed" if report.faults else "passed",
        "sessions": report.done,
        "wall_s": round(report.wall_s, 1),
        "outcomes": report.outcomes,
        "refused_full": report.refused_full,
        "growth_percent": report.growth_percent,
        "faults": report.faults,
        "n_faults": report.n_faults,
    }

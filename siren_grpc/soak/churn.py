"""A million sessions in compressed time: opened, ended in every way there is, counted out."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from time import monotonic
from typing import Any

from siren_grpc.soak.churn_client import ChurnClient
from siren_grpc.soak.flatness import Series, grown_beyond, growth, not_measured
from siren_grpc.soak.journal import Journal
from siren_grpc.soak.process_counts import ProcessCounts, leaks
from siren_grpc.soak.session_plan import SessionPlan, draw
from siren_grpc.soak.stopping import stop_on_signals
from siren_grpc.soak.watched_server import WatchedServer


@dataclass(frozen=True, slots=True)
class ChurnSettings:
    """How much of what.

    at_once: sessions that run together. every: sessions between two audits. warm_up: sessions
    before memory is to stay flat. bound_percent: how flat, of each process. cancelled_percent: of
    the sessions are cancelled.
    """

    sessions: int
    at_once: int
    connections: int
    every: int
    warm_up: int
    bound_percent: float
    cancelled_percent: float
    seed: int


@dataclass(slots=True)
class ChurnReport:
    """What was found. faults: empty when the server has passed; the first few of `n_faults`."""

    done: int = 0
    wall_s: float = 0.0
    outcomes: dict[str, int] = field(default_factory=dict)
    refused_full: int = 0
    growth_percent: dict[str, float] = field(default_factory=dict)
    """Of the memory of each process, behind the warm-up."""
    bytes_a_session: dict[str, float] = field(default_factory=dict)
    """By how much what each process has allocated grows, behind the warm-up."""
    faults: list[str] = field(default_factory=list)
    n_faults: int = 0

    def take_over(self, client: ChurnClient) -> None:
        """Take what the client of the sessions has found so far."""
        self.outcomes = dict(sorted(client.outcomes.items()))
        self.refused_full = client.n_refused_full
        self.faults, self.n_faults = list(client.faults), client.n_faults

    def as_json(self) -> dict[str, Any]:
        """Return its figures."""
        return {
            "sessions": self.done,
            "wall_s": round(self.wall_s, 2),
            "outcomes": self.outcomes,
            "refused_full": self.refused_full,
            "growth_percent": self.growth_percent,
            "bytes_a_session": self.bytes_a_session,
            "n_faults": self.n_faults,
        }


async def play(
    clips: Sequence[bytes],
    settings: ChurnSettings,
    server: WatchedServer,
    journal: Journal,
    on_progress: Callable[[float], None],
) -> ChurnReport:
    """Run the sessions, audit by audit, until all are done or SIGINT or SIGTERM comes.

    clips: 16 kHz 16-bit PCM. on_progress: told how many sessions are done. Raises NoCensus when
    the server does not answer.
    """
    is_stopping = stop_on_signals()
    client = ChurnClient(server.target, clips, n_connections=settings.connections)
    random, share = Random(settings.seed), settings.cancelled_percent / 100
    report = ChurnReport()
    started_at = monotonic()
    memory, heap = Series(), Series()
    baseline: list[ProcessCounts] = []
    try:
        while report.done < settings.sessions and not client.n_faults and not is_stopping.is_set():
            n = min(settings.every, settings.sessions - report.done)
            plans = [draw(random, clips, cancelled_share=share) for _ in range(n)]
            await _run(client, plans, settings.at_once, report.done, on_progress)
            report.done += n
            report.wall_s = monotonic() - started_at
            counts, idle_s = await server.wait_idle()
            if not baseline and report.done >= min(settings.warm_up, settings.sessions):
                baseline = counts
            for process in counts:
                memory.note(f"memory of the {process.name}", report.done, process.use.own_bytes)
                heap.note(process.name, report.done, process.count("heap_bytes"))
            report.take_over(client)
            journal.write(
                **report.as_json(),
                idle_s=round(idle_s, 2),
                processes=[process.as_json() for process in counts],
            )
            await client.reconnect_one()
    finally:
        await client.close()
    counts, _ = await server.wait_idle(baseline)
    percents = memory.percents(growth, since=settings.warm_up)
    report.growth_percent = {name: round(percent, 3) for name, percent in percents.items()}
    slopes = heap.slopes(since=settings.warm_up)
    report.bytes_a_session = {name: round(grows, 1) for name, grows in slopes.items()}
    report.faults += leaks(baseline, counts) + grown_beyond(percents, settings.bound_percent)
    report.faults += not_measured(memory.names or ["memory"], percents)
    report.n_faults = max(report.n_faults, len(report.faults))
    return report


async def _run(
    client: ChurnClient,
    plans: Sequence[SessionPlan],
    at_once: int,
    n_before: int,
    on_progress: Callable[[float], None],
) -> None:
    """Run some sessions, so many at once. n_before: sessions that were run before them."""
    numbered = enumerate(plans, n_before)
    done = itertools.count(n_before + 1)

    async def work() -> None:
        for number, plan in numbered:
            await client.run(plan, number)
            on_progress(next(done))

    await asyncio.gather(*(work() for _ in range(at_once)))

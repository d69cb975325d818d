from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

from siren_grpc.domain.model import Lane
from siren_grpc.domain.ports import StepsAtOnce
from siren_grpc.domain.step import StepResult, StepRow
from siren_grpc.domain.work import EndStream
from siren_grpc.engine.session import EngineLimits
from tests.engine.test_engine import collect
from tests.support.arithmetic_backend import ArithmeticBackend
from tests.support.builders import LANE, make_chunk
from tests.support.local_engine import LocalEngine


class TellingBackend(ArithmeticBackend):
    """Tells of each step that comes to the gate."""

    def __init__(self, gate: threading.Event) -> None:
        super().__init__(gate=gate, n_slots=3, max_batch=2, steps_at_once=StepsAtOnce(1, 2))
        self.begun = threading.Semaphore(0)
        self.n_rows: list[int] = []

    def step(self, lane: Lane, rows: Sequence[StepRow]) -> list[StepResult]:
        self.n_rows.append(len(rows))
        self.begun.release()
        return super().step(lane, rows)


async def test_a_full_batch_is_stepped_beside_the_usual_step() -> None:
    gate = threading.Event()
    backend = TellingBackend(gate)
    engine = LocalEngine(EngineLimits(max_backlog_s=2.0, max_unsent_results=10))
    engine.start()
    try:
        engine.add_model(backend)
        first, second, third = [await engine.open(LANE) for _ in range(3)]
        await first.submit([make_chunk(1.0)])
        assert await asyncio.to_thread(backend.begun.acquire, timeout=60)
        await second.submit([make_chunk(2.0)])
        await third.submit([make_chunk(3.0)])
        assert await asyncio.to_thread(backend.begun.acquire, timeout=60)
        assert backend.n_rows == [1, 2], "one that is not full waits for the step under way"
        gate.set()
        for session in (first, second, third):
            await session.submit([EndStream()])
            await collect(session)
    finally:
        gate.set()
        await asyncio.to_thread(engine.stop, timeout_s=60)

"""The engine with real threads and an arithmetic backend."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import AsyncIterator, Awaitable, Callable

import numpy as np
import pytest

from siren_grpc.domain.errors import InternalError, ModelError, Overloaded
from siren_grpc.domain.types import EndStream, Final, Partial, Result, StreamEnded, Work
from siren_grpc.engine.engine import Engine
from siren_grpc.engine.session import EngineLimits, EngineSession
from tests.support.arithmetic_backend import POISON, ArithmeticBackend
from tests.support.builders import LANE, make_chunk, make_ingress

LIMITS = EngineLimits(max_backlog_s=2.0, max_unsent_results=1000)
Start = Callable[..., Awaitable[Engine]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Start engines, and stop them behind the test."""
    engines = []

    async def start(
        backend: ArithmeticBackend | None = None, limits: EngineLimits = LIMITS
    ) -> Engine:
        engine = Engine(backend or ArithmeticBackend(), limits)
        engine.start()
        engines.append(engine)
        return engine

    yield start
    for engine in engines:
        await asyncio.to_thread(engine.stop, timeout_s=60)


async def collect(session: EngineSession) -> list[Result]:
    results = []
    while True:
        result = await asyncio.wait_for(session.take(), 60)
        results.append(result)
        if isinstance(result, StreamEnded):
            return results


def noise(seed: int, n_samples: int) -> bytes:
    generator = np.random.default_rng(seed)
    return generator.integers(-3000, 3000, n_samples, dtype=np.int16).tobytes()


def stream_work(seed: int) -> list[Work]:
    """The work of a stream with two utterances, cut at random."""
    draw = random.Random(seed)
    ingress = make_ingress(preview_samples=800, padding_samples=2000)
    work: list[Work] = []
    for _ in range(2):
        pcm = noise(seed, 3000 + seed % 5 * 4000)
        start = 0
        while start < len(pcm):
            size = draw.randint(1, 6000)
            work += ingress.receive_audio(pcm[start : start + size], 0)
            start += size
        work += ingress.finalize()
    return [*work, *ingress.end()]


async def finals_of(engine: Engine, work: list[Work]) -> list[str]:
    session = engine.open(LANE)
    try:
        submitting = asyncio.create_task(session.submit(work))
        results = await collect(session)
        await submitting
        assert results[-1] == StreamEnded()
        return [result.text for result in results if isinstance(result, Final)]
    finally:
        session.close()


async def test_many_at_once_are_each_what_they_are_alone(start: Start) -> None:
    engine = await start(ArithmeticBackend(n_slots=17, max_batch=5))
    works = [stream_work(seed) for seed in range(16)]
    alone = [await finals_of(engine, work) for work in works]
    together = await asyncio.gather(*(finals_of(engine, work) for work in works))
    assert together == alone
    assert all(len(finals) == 3 for finals in together)
    assert len({tuple(finals) for finals in together}) > 10


async def test_sessions_ready_at_once_share_a_step(start: Start) -> None:
    gate = threading.Event()
    backend = ArithmeticBackend(n_slots=6, max_batch=6, gate=gate)
    engine = await start(backend)
    sessions = [engine.open(LANE) for _ in range(6)]
    for session in sessions:
        await session.submit([make_chunk(1.0), make_chunk(2.0), EndStream()])
    gate.set()
    for session in sessions:
        await collect(session)
    assert backend.largest_batch >= 5


async def test_a_slots_next_tenant_finds_nothing_of_the_last(start: Start) -> None:
    engine = await start(ArithmeticBackend(n_slots=1))
    work = stream_work(3)
    first = await finals_of(engine, work)
    for seed in range(20):
        session = await open_when_free(engine)
        await session.submit([make_chunk(float(seed))])
        session.close()  # mid-stream, its work perhaps still queued
    session = await open_when_free(engine)
    session.close()
    await open_when_free(engine, then_close=True)
    assert await finals_when_free(engine, work) == first


async def open_when_free(engine: Engine, *, then_close: bool = False) -> EngineSession:
    """Open as soon as the stepper has freed the slot: it says so through the event loop."""
    for _ in range(1_000_000):
        try:
            session = engine.open(LANE)
        except Overloaded:
            await asyncio.sleep(0)
            continue
        if then_close:
            session.close()
        return session
    raise AssertionError("the slot never came free")


async def finals_when_free(engine: Engine, work: list[Work]) -> list[str]:
    (await open_when_free(engine)).close()
    for _ in range(1_000_000):
        try:
            return await finals_of(engine, work)
        except Overloaded:
            await asyncio.sleep(0)
    raise AssertionError("the slot never came free")


async def test_one_session_too_many_is_refused_until_one_closes(start: Start) -> None:
    engine = await start(ArithmeticBackend(n_slots=2))
    first, second = engine.open(LANE), engine.open(LANE)
    with pytest.raises(Overloaded, match="all 2 sessions") as caught:
        engine.open(LANE)
    assert caught.value.retry_after_s is not None
    first.close()
    first.close()
    third = await open_when_free(engine)
    with pytest.raises(Overloaded):
        engine.open(LANE)
    second.close()
    third.close()


async def test_a_failing_row_ends_its_session_alone(start: Start) -> None:
    gate = threading.Event()
    engine = await start(ArithmeticBackend(n_slots=3, gate=gate))
    sessions = [engine.open(LANE) for _ in range(3)]
    values = [1.0, POISON, 2.0]
    for session, value in zip(sessions, values, strict=True):
        await session.submit([make_chunk(value), make_chunk(0.5), EndStream()])
    gate.set()
    outcomes = [await collect(session) for session in sessions]
    errors = [outcome[-1] for outcome in outcomes]
    assert errors[0] == errors[2] == StreamEnded()
    assert isinstance(errors[1], StreamEnded)
    assert isinstance(errors[1].error, ModelError)
    assert "poisoned" not in errors[1].error.message, "causes go to the log, not to the client"
    for session in sessions:
        session.close()
    # The batch that failed changed nothing: the mates' text is what it is alone.
    for index in (0, 2):
        alone = await start(ArithmeticBackend(n_slots=1))
        session = alone.open(LANE)
        await session.submit([make_chunk(values[index]), make_chunk(0.5), EndStream()])
        texts = [r.text for r in await collect(session) if isinstance(r, Partial)]
        assert [r.text for r in outcomes[index] if isinstance(r, Partial)][-1] == texts[-1]
        session.close()


async def test_submitting_waits_while_too_much_is_under_way(start: Start) -> None:
    gate = threading.Event()
    engine = await start(ArithmeticBackend(gate=gate))
    session = engine.open(LANE)
    work = [make_chunk(1.0) for _ in range(40)]  # 160 ms each; the bound is 2 s
    submitting = asyncio.create_task(session.submit([*work, EndStream()]))
    for _ in range(1000):
        await asyncio.sleep(0)
    assert not submitting.done()
    gate.set()
    await collect(session)
    await submitting
    session.close()


async def test_submitting_waits_while_results_are_not_read(start: Start) -> None:
    limits = EngineLimits(max_backlog_s=1000, max_unsent_results=5)
    engine = await start(limits=limits)
    session = engine.open(LANE)
    ingress = make_ingress()
    work = [item for _ in range(200) for item in ingress.finalize()]
    work += ingress.end()
    submitting = asyncio.create_task(session.submit(work))
    for _ in range(2000):
        await asyncio.sleep(0)
    assert not submitting.done(), "nothing is read, so nothing more is taken"
    results = await collect(session)
    await submitting
    assert len([r for r in results if isinstance(r, Final)]) == 201
    session.close()


async def test_a_dead_stepper_tells_everyone(start: Start) -> None:
    gate = threading.Event()
    backend = ArithmeticBackend(gate=gate)
    engine = await start(backend)
    session, other = engine.open(LANE), engine.open(LANE)
    ingress = make_ingress()
    backend.dies = True
    await session.submit([*ingress.receive_audio(noise(1, 9000), 0), *ingress.finalize()])
    gate.set()
    for dead in (session, other):
        ended = (await collect(dead))[-1]
        assert isinstance(ended, StreamEnded)
        assert isinstance(ended.error, InternalError)
    await asyncio.wait_for(engine.wait_dead(), 60)
    assert not engine.is_alive


async def test_results_for_a_closed_session_go_nowhere(start: Start) -> None:
    gate = threading.Event()
    engine = await start(ArithmeticBackend(gate=gate))
    session = engine.open(LANE)
    await session.submit([make_chunk(1.0)])
    session.close()
    gate.set()
    (await open_when_free(engine)).close()
    assert engine.n_sessions == 0

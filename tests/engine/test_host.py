"""Several front ends before one engine."""

from __future__ import annotations

import asyncio
import pickle
import threading
from collections.abc import AsyncIterator

import pytest

from siren_grpc.domain.errors import ModelNotFound, Overloaded
from siren_grpc.domain.results import Final, StreamEnded
from siren_grpc.domain.work import EndStream, EndUtterance
from siren_grpc.engine.engine import Engine
from siren_grpc.engine.host import EngineHost
from siren_grpc.engine.messages import Open, first_session_id, front_end_of
from siren_grpc.engine.session import EngineLimits, EngineSession
from tests.support.arithmetic_backend import POISON, ArithmeticBackend
from tests.support.builders import LANE, make_chunk

LIMITS = EngineLimits(max_backlog_s=2.0, max_unsent_results=100)


@pytest.fixture
async def host() -> AsyncIterator[EngineHost]:
    host = EngineHost()
    host.start()
    host.add_model(ArithmeticBackend(n_slots=2))
    yield host
    await asyncio.to_thread(host.stop, timeout_s=60)


def front_end(host: EngineHost) -> tuple[Engine, int]:
    """Connect an engine; everything between it and the host is pickled, as a link does."""
    engines: list[Engine] = []
    number = host.connect(lambda found: engines[0].deliver(pickle.loads(pickle.dumps(found))))
    engines.append(
        Engine(LIMITS, lambda sent: host.post(pickle.loads(pickle.dumps(sent))), front_end=number)
    )
    engines[0].serve(host.models)
    return engines[0], number


async def final_of(session: EngineSession, *values: float) -> str:
    await session.submit([*map(make_chunk, values), EndUtterance(1, 1), EndStream()])
    finals = []
    while not isinstance(result := await asyncio.wait_for(session.take(), 60), StreamEnded):
        finals += [result.text] if isinstance(result, Final) else []
    assert result.error is None
    (final,) = finals
    return str(final)


async def test_front_ends_share_the_slots_and_hear_only_their_own(host: EngineHost) -> None:
    (first, _), (second, _) = front_end(host), front_end(host)
    one, other = await first.open(LANE), await second.open(LANE)
    for engine in (first, second):
        with pytest.raises(Overloaded, match="all 2 sessions"):
            await engine.open(LANE)
    finals = await asyncio.gather(final_of(one, 1.0, 2.0), final_of(other, 3.0))
    one.close()
    other.close()
    assert finals[0] != finals[1]
    again = await second.open(LANE)
    assert await final_of(again, 1.0, 2.0) == finals[0]
    again.close()


async def test_a_front_end_that_is_gone_leaves_its_slots(host: EngineHost) -> None:
    (first, number), (second, _) = front_end(host), front_end(host)
    for _ in range(2):
        session = await first.open(LANE)
        await session.submit([make_chunk(1.0)])
    host.disconnect(number)
    host.disconnect(number)
    sessions = [await second.open(LANE) for _ in range(2)]
    for session in sessions:
        session.close()


async def test_opening_that_is_given_up_takes_no_slot() -> None:
    gate = threading.Event()
    host = EngineHost()
    host.start()
    backend = ArithmeticBackend(n_slots=2, gate=gate)
    host.add_model(backend)
    engine, _ = front_end(host)
    first = await engine.open(LANE)
    await first.submit([make_chunk(1.0)])
    assert await asyncio.to_thread(backend.is_waiting.wait, 60)
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(engine.open(LANE), 0.05)
    assert engine.n_sessions == 1
    gate.set()
    second = await engine.open(LANE)
    first.close()
    second.close()
    await asyncio.to_thread(host.stop, timeout_s=60)


async def test_a_session_of_a_model_that_has_just_gone_is_refused(host: EngineHost) -> None:
    engine, _ = front_end(host)
    await asyncio.wait_for(host.retire_model("test-model"), 60)
    with pytest.raises(ModelNotFound, match="just been taken out of service"):
        await engine.open(LANE)  # this front end has not heard of it yet
    assert host.models == ()


async def test_errors_reach_another_process_as_they_are(host: EngineHost) -> None:
    engine, _ = front_end(host)
    session = await engine.open(LANE)
    await session.submit([make_chunk(POISON)])
    ended = await asyncio.wait_for(session.take(), 60)
    assert isinstance(ended, StreamEnded)
    assert ended.error is not None
    assert "other streams go on" in ended.error.message.lower()
    session.close()


def test_session_ids_say_whose_they_are() -> None:
    assert front_end_of(first_session_id(3) + 12345) == 3
    assert pickle.loads(pickle.dumps(Open(first_session_id(2), LANE))).lane == LANE

"""Who is refused knows at once, whatever the step under way takes: here it takes for ever."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import pytest

from siren_grpc.domain.errors import Overloaded, QuotaExceeded, RefusalCause
from siren_grpc.domain.model import Lane
from siren_grpc.domain.principal import Caller, Principal, Quota
from siren_grpc.engine.engine import Engine
from siren_grpc.engine.host import EngineHost
from siren_grpc.engine.session import EngineSession
from tests.engine.conftest import LIMITS, WORKERS
from tests.support.arithmetic_backend import ArithmeticBackend
from tests.support.builders import LANE, make_chunk
from tests.support.local_engine import LocalEngine

N_SLOTS = 8
LIVE: dict[str, Any] = {}
RECORDING: dict[str, Any] = {"is_live": False}
ONE_AT_ONCE, FEW_AT_ONCE, LITTLE_AUDIO = (
    {"caller": Caller(Principal("phone"), quota)}
    for quota in (Quota(sessions=1), Quota(sessions=3), Quota(audio_s_per_hour=0.1))
)


class CostlyBackend(ArithmeticBackend):
    """Its steps, it says, take so long that one session is too much already; they hang."""

    def __init__(self, n_parallel: int) -> None:
        super().__init__(n_slots=N_SLOTS, gate=threading.Event(), n_parallel=n_parallel)

    @property
    def step_seconds(self) -> Mapping[Lane, Mapping[int, float]]:
        return {LANE: dict.fromkeys(self.batch_sizes, 10.0)}


class BoundedEngine(LocalEngine):
    """An engine that refuses who would make the others late."""

    def __init__(self) -> None:
        self.host = EngineHost(max_load=0.8)
        number = self.host.connect(self._deliver)
        self._engine = Engine(LIMITS, self._send, front_end=number)


Hang = Callable[..., Awaitable[tuple[BoundedEngine, ArithmeticBackend, list[EngineSession]]]]


@pytest.fixture(params=WORKERS.values(), ids=WORKERS)
async def hang(request: pytest.FixtureRequest) -> AsyncIterator[Hang]:
    """Start an engine with sessions, the last of which has a step that ends with the gate."""
    engines = []

    async def hang(
        *openings: dict[str, Any],
    ) -> tuple[BoundedEngine, ArithmeticBackend, list[EngineSession]]:
        backend = CostlyBackend(request.param)
        engine = BoundedEngine()
        engine.start()
        engine.add_model(backend)
        engines.append((engine, backend))
        sessions = [await engine.open(LANE, **opening) for opening in openings]
        await sessions[-1].submit([make_chunk(1.0, end=2560)])
        assert await asyncio.to_thread(backend.is_waiting.wait, 60)
        return engine, backend, sessions

    yield hang
    for engine, backend in engines:
        backend.open_gate()
        await asyncio.to_thread(engine.stop, timeout_s=60)


async def refused(engine: LocalEngine, **opening: Any) -> Overloaded:
    with pytest.raises(Overloaded) as caught:
        await asyncio.wait_for(engine.open(LANE, **opening), 30)
    return caught.value


async def test_by_what_it_would_cost(hang: Hang) -> None:
    engine, _, _ = await hang(LIVE)
    for _ in range(3):  # those refused before are in nobody's way
        assert (await refused(engine)).cause is RefusalCause.TOO_MUCH


async def test_by_the_quota_of_sessions(hang: Hang) -> None:
    engine, _, _ = await hang(RECORDING | ONE_AT_ONCE)
    for _ in range(3):
        error = await refused(engine, **RECORDING, **ONE_AT_ONCE)
        assert isinstance(error, QuotaExceeded)
        assert "sessions at once, 1" in error.message


async def test_by_the_quota_of_audio(hang: Hang) -> None:
    engine, _, _ = await hang(RECORDING | LITTLE_AUDIO)
    error = await refused(engine, **RECORDING, **LITTLE_AUDIO)
    assert isinstance(error, QuotaExceeded)
    assert "audio in an hour" in error.message


async def test_by_the_slots(hang: Hang) -> None:
    engine, _, _ = await hang(*[RECORDING] * (N_SLOTS - 1))
    for _ in range(3):
        assert (await refused(engine, **RECORDING)).cause is RefusalCause.LIVE_ONLY


async def test_the_reason_is_what_the_stepper_would_have_said(hang: Hang) -> None:
    """Who has had enough hears of the quota, however full the server is."""
    engine, _, _ = await hang(ONE_AT_ONCE)
    assert (await refused(engine, **ONE_AT_ONCE)).cause is RefusalCause.QUOTA
    assert (await refused(engine)).cause is RefusalCause.TOO_MUCH


async def opened_behind_the_step(
    engine: LocalEngine, backend: ArithmeticBackend, **opening: Any
) -> EngineSession:
    """Open a session that nobody may refuse before the step under way has ended."""
    opening_it = asyncio.create_task(engine.open(LANE, **opening))
    await asyncio.sleep(0)  # what it is refused with at once would be there
    backend.open_gate()
    return await asyncio.wait_for(opening_it, 60)


async def test_who_comes_behind_one_that_leaves_has_its_time(hang: Hang) -> None:
    engine, backend, (session,) = await hang(LIVE)
    session.close()
    await opened_behind_the_step(engine, backend)


async def test_who_comes_behind_one_that_leaves_has_its_place_in_the_quota(hang: Hang) -> None:
    engine, backend, (leaving, _) = await hang(RECORDING | ONE_AT_ONCE, RECORDING)
    leaving.close()
    await opened_behind_the_step(engine, backend, **RECORDING, **ONE_AT_ONCE)


async def test_who_comes_behind_one_that_leaves_has_its_slot(hang: Hang) -> None:
    engine, backend, (leaving, *_) = await hang(*[RECORDING] * (N_SLOTS - 1))
    leaving.close()
    await opened_behind_the_step(engine, backend, **RECORDING)


async def test_one_that_leaves_makes_no_room_for_many(hang: Hang) -> None:
    phones = [RECORDING | FEW_AT_ONCE] * 3
    engine, _, (leaving, *_) = await hang(*phones)
    leaving.close()
    for _ in range(3):  # of three one leaves: two remain, and one is what they may be
        assert isinstance(await refused(engine, **RECORDING, **ONE_AT_ONCE), QuotaExceeded)

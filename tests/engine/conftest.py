"""What tests of the engine share: engines with one worker or several, and a whole service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from siren_grpc.engine.session import EngineLimits
from tests.support.arithmetic_backend import ArithmeticBackend
from tests.support.history.world import World, open_world
from tests.support.local_engine import LocalEngine

LIMITS = EngineLimits(max_backlog_s=2.0, max_unsent_results=1000)
Start = Callable[..., Awaitable[LocalEngine]]
WORKERS = {"one worker": 1, "three workers": 3}


@pytest.fixture(params=WORKERS.values(), ids=WORKERS)
async def start(request: pytest.FixtureRequest) -> AsyncIterator[Start]:
    """Start engines, and stop them behind the test."""
    engines = []

    async def start(
        backend: ArithmeticBackend | None = None, limits: EngineLimits = LIMITS
    ) -> LocalEngine:
        backend = backend or ArithmeticBackend()
        backend.n_parallel = request.param
        engine = LocalEngine(limits)
        engine.start()
        engine.add_model(backend)
        engines.append((engine, backend))
        return engine

    yield start
    for engine, backend in engines:
        backend.open_gate()
        await asyncio.to_thread(engine.stop, timeout_s=60)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """A service with an engine of two slots."""
    async with open_world(n_slots=2, max_samples=None) as world:
        yield world

"""A service with an engine, in this process, for many histories at once."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from siren_grpc.engine.engine import Engine
from siren_grpc.engine.host import EngineHost
from siren_grpc.engine.session import EngineLimits
from siren_grpc.server.front_end_tally import FrontEndTally
from siren_grpc.server.load_reports import LoadReports
from siren_grpc.server.names import ModelNames
from siren_grpc.server.opening import ServiceLimits
from siren_grpc.server.service import SpeechService
from tests.support.history.backend import HistoryBackend
from tests.support.history.checker import Violation, check
from tests.support.history.generate import MAX_SAMPLES, Trouble, draw, undisturbed
from tests.support.history.play import play
from tests.support.history.record import HERTZ, History

_AT_ONCE = 48
_FEW_SLOTS = 24
_GRACE_S = 2.0
_LONG_GRACE_S = 10.0
"""For histories, which are many at once: who is back in time is not to be a matter of load."""


@dataclass(slots=True)
class World:
    """What histories are played in."""

    service: SpeechService
    engine: Engine
    host: EngineHost
    backend: HistoryBackend
    grace_s: float


@asynccontextmanager
async def open_world(
    *,
    n_slots: int,
    max_samples: int | None,
    idle_timeout_s: float = 30,
    grace_s: float = _GRACE_S,
) -> AsyncIterator[World]:
    """Start a service; stop it."""
    limits = ServiceLimits(
        preview_ms=80,
        tail_padding_ms=100,
        idle_timeout_s=idle_timeout_s,
        max_session_s=None if max_samples is None else max_samples / HERTZ,
        masked_words=frozenset(),
        resume_grace_s=grace_s,
        max_parked=_FEW_SLOTS,  # all: which is given up would be a matter of load
    )
    host = EngineHost()
    number = host.connect(lambda deliveries: engine.deliver(deliveries))
    engine = Engine(
        EngineLimits(max_backlog_s=1.0, max_unsent_results=6), host.post, front_end=number
    )
    backend = HistoryBackend(n_slots=n_slots, max_batch=8)
    host.start()
    host.add_model(backend)
    engine.serve(host.models)
    service = SpeechService(limits, FrontEndTally("front end 1"), LoadReports(is_on=False))
    service.serve(engine, ModelNames(host.models[0].id, {}))
    dying = asyncio.create_task(_die_with(host, engine))
    try:
        yield World(service, engine, host, backend, grace_s)
    finally:
        dying.cancel()
        host.stop(timeout_s=10)


async def _die_with(host: EngineHost, engine: Engine) -> None:
    await host.wait_dead()
    engine.die()


async def play_all(
    seeds: Sequence[int], *, scenario: str = ""
) -> dict[int, tuple[History, list[Violation]]]:
    """Play histories at once, each with its twin in peace; return them with what is wrong.

    scenario: what the server does: "" nothing special, "limit" it bounds its streams, "drain" it
    is stopped while they run, "death" its stepper dies.
    """
    max_samples = MAX_SAMPLES if scenario == "limit" else None
    drawn = {seed: draw(seed, max_samples=max_samples) for seed in seeds}
    twins: dict[int, History] = {}
    async with open_world(n_slots=_AT_ONCE, max_samples=max_samples) as world:

        async def twin(seed: int) -> None:
            script = undisturbed(drawn[seed][0])
            twins[seed] = await play(world.service, script, Trouble(), seed)

        await _each(twin, seeds)
        await assert_empty(world)
    histories: dict[int, History] = {}
    async with open_world(
        n_slots=_FEW_SLOTS, max_samples=max_samples, grace_s=_LONG_GRACE_S
    ) as world:

        async def one(seed: int) -> None:
            script, trouble = drawn[seed]
            extra = {"drain": {"SHUTTING_DOWN"}, "death": {"INTERNAL_ERROR"}}.get(scenario, set())
            if extra:
                script = replace(script, ends=script.ends | extra | {"INVALID_CONFIG"})
            histories[seed] = await play(world.service, script, trouble, seed)

        disturbing = asyncio.create_task(_disturb(world, scenario, histories, seeds))
        await _each(one, seeds)
        disturbing.cancel()
        if scenario not in ("death",):
            await assert_empty(world)
    for seed, history in histories.items():
        history.twin = tuple(told.essence for told in twins[seed].told("final", "event", "updated"))
    found = {seed: (history, check(history)) for seed, history in histories.items()}
    for seed, history in twins.items():
        found[seed][1].extend(check(history))
    return found


async def _disturb(
    world: World, scenario: str, histories: dict[int, History], seeds: Sequence[int]
) -> None:
    if scenario not in ("drain", "death"):
        return
    rng = random.Random(seeds[0])
    n = round(rng.uniform(0.2, 0.5) * len(seeds))
    while len(histories) < n:  # noqa: ASYNC110 (a count, not an event)
        await asyncio.sleep(0.005)
    if scenario == "drain":
        await world.service.drain(grace_s=rng.uniform(0, 0.05), hurry=asyncio.Event())
    else:
        world.backend.dies = True


async def _each(act, seeds: Sequence[int]) -> None:
    left = iter(seeds)

    async def work() -> None:
        for seed in left:
            await act(seed)

    await asyncio.gather(*(work() for _ in range(_AT_ONCE)))


async def assert_empty(world: World) -> None:
    """Nothing is left over, once those that could be resumed are given up."""

    async def is_empty() -> None:
        while any(  # noqa: ASYNC110 (nobody tells when the last has gone)
            (*world.host.counts.values(), *world.service.counts.values(), world.engine.n_sessions)
        ):
            await asyncio.sleep(0.02)

    try:
        await asyncio.wait_for(is_empty(), world.grace_s + 10)
    except asyncio.TimeoutError:
        raise AssertionError(f"left over: {world.host.counts}, {world.service.counts}") from None

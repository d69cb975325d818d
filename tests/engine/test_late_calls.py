"""Calls that a drain, or the loss of a token, finds before their stream has begun."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from siren.v1 import speech_pb2 as pb

from siren_grpc.domain.principal import ANONYMOUS
from tests.support.history.play import Aborted, Context
from tests.support.history.world import World

CONFIG = pb.StreamingRecognizeRequest(config=pb.StreamingConfig())
AUDIO = pb.StreamingRecognizeRequest(audio=pb.AudioChunk(data=bytes(3200)))


async def play(world: World, speaks: asyncio.Event) -> tuple[list[str], str]:
    """Run a call whose client speaks when told to; return its responses and its reason."""

    async def requests() -> AsyncIterator[pb.StreamingRecognizeRequest]:
        await speaks.wait()
        yield CONFIG
        yield AUDIO
        await asyncio.Event().wait()

    kinds: list[str] = []
    try:
        async for response in world.service.StreamingRecognize(requests(), Context()):  # type: ignore[arg-type]
            kinds.append(response.WhichOneof("response"))
    except Aborted as error:
        return kinds, error.reason
    return kinds, "OK"


async def begin_to_open(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> tuple[asyncio.Task[tuple[list[str], str]], asyncio.Event]:
    """Run a call until its session is to open, which it does when the event is set."""
    open_session = world.engine.open
    is_opening, may_open, speaks = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def open_later(*args: Any, **options: Any) -> Any:
        is_opening.set()
        await may_open.wait()
        return await open_session(*args, **options)

    monkeypatch.setattr(world.engine, "open", open_later)
    speaks.set()
    call = asyncio.create_task(play(world, speaks))
    await asyncio.wait_for(is_opening.wait(), 10)
    return call, may_open


async def test_who_says_behind_the_drain_what_it_wants_is_refused(world: World) -> None:
    speaks = asyncio.Event()
    call = asyncio.create_task(play(world, speaks))
    await asyncio.sleep(0)
    await world.service.drain(grace_s=10, hurry=asyncio.Event())  # nobody is there to wait for
    speaks.set()
    assert await asyncio.wait_for(call, 10) == ([], "SHUTTING_DOWN")


async def test_who_is_let_in_as_the_drain_ends_is_sent_away_in_order(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    call, may_open = await begin_to_open(world, monkeypatch)
    await world.service.drain(grace_s=10, hurry=asyncio.Event())
    may_open.set()
    kinds, reason = await asyncio.wait_for(call, 10)
    assert (kinds[0], reason) == ("started", "SHUTTING_DOWN")


async def test_who_is_let_in_while_the_server_drains_is_told_how_long_it_may_go_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = asyncio.Event()
    first.set()
    running = asyncio.create_task(play(world, first))
    while world.service.is_idle:  # noqa: ASYNC110 (nobody tells)
        await asyncio.sleep(0.005)
    call, may_open = await begin_to_open(world, monkeypatch)
    hurry = asyncio.Event()
    draining = asyncio.create_task(world.service.drain(grace_s=60, hurry=hurry))
    await asyncio.sleep(0)
    may_open.set()
    while len(world.service.streams()) < 2:  # noqa: ASYNC110
        await asyncio.sleep(0.005)
    hurry.set()
    for each in (running, call):
        kinds, reason = await asyncio.wait_for(each, 10)
        assert kinds[:2] == ["started", "event"]
        assert reason == "SHUTTING_DOWN"
    await asyncio.wait_for(draining, 10)


async def test_who_has_not_said_anything_is_told_of_the_drain_as_it_begins(world: World) -> None:
    call = asyncio.create_task(play(world, asyncio.Event()))
    await asyncio.sleep(0.01)
    draining = asyncio.create_task(world.service.drain(grace_s=60, hurry=asyncio.Event()))
    assert await asyncio.wait_for(call, 10) == ([], "SHUTTING_DOWN")
    await asyncio.wait_for(draining, 10)


async def test_who_loses_its_token_before_it_says_anything_has_no_stream(world: World) -> None:
    call = asyncio.create_task(play(world, asyncio.Event()))
    await asyncio.sleep(0.01)
    world.service.revoke(frozenset({"somebody else"}))
    await asyncio.sleep(0.01)
    assert not call.done()
    world.service.revoke(frozenset({ANONYMOUS.name}))
    assert await asyncio.wait_for(call, 10) == ([], "AUTH_FAILED")


async def test_who_loses_its_token_while_its_stream_opens_loses_the_stream(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    call, may_open = await begin_to_open(world, monkeypatch)
    world.service.revoke(frozenset({ANONYMOUS.name}))
    may_open.set()
    kinds, reason = await asyncio.wait_for(call, 10)
    assert (kinds[0], reason) == ("started", "AUTH_FAILED")

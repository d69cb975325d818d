"""No client holds health up, whatever it does with what it is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from siren_grpc.server.health import HealthServicer

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


class Served:
    """Health at a port of its own, and a client of it."""

    def __init__(self) -> None:
        self.health = HealthServicer()
        self.server = grpc.aio.server()
        health_pb2_grpc.add_HealthServicer_to_server(self.health, self.server)
        self.port = self.server.add_insecure_port("127.0.0.1:0")


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    served = Served()
    await served.server.start()
    yield served
    await served.server.stop(None)


@pytest.fixture
async def stub(served: Served) -> AsyncIterator[Any]:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{served.port}") as channel:
        yield health_pb2_grpc.HealthStub(channel)


def ask(name: str = "") -> health_pb2.HealthCheckRequest:
    return health_pb2.HealthCheckRequest(service=name)


async def test_a_name_is_served_unknown_or_not(served: Served, stub: Any) -> None:
    assert (await stub.Check(ask())).status == SERVING
    served.health.set("x", NOT_SERVING)
    assert (await stub.Check(ask("x"))).status == NOT_SERVING
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await stub.Check(ask("y"))
    assert error.value.code() is grpc.StatusCode.NOT_FOUND
    assert "'y'" in str(error.value.details())


async def test_who_watches_hears_of_each_change_and_of_the_end(served: Served, stub: Any) -> None:
    watching = stub.Watch(ask("x"))
    assert (await watching.read()).status == UNKNOWN
    for status in (SERVING, NOT_SERVING):
        served.health.set("x", status)
        assert (await watching.read()).status == status
    served.health.set("other", SERVING)
    served.health.close()
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await watching.read()
    assert error.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_server_with_watchers_stops_at_once(served: Served, stub: Any) -> None:
    watching = stub.Watch(ask())
    await watching.read()
    served.health.close()
    await asyncio.wait_for(served.server.stop(60), 10)


async def test_who_does_not_read_holds_nobody_up(served: Served) -> None:
    """As of a client whose window is closed: its first status is never taken."""

    is_told = asyncio.Event()

    async def watch() -> None:
        async for _ in served.health.Watch(ask(), None):
            is_told.set()
            await asyncio.Event().wait()

    stuck = asyncio.create_task(watch())
    await asyncio.wait_for(is_told.wait(), 10)
    served.health.set("", NOT_SERVING)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{served.port}") as channel:
        answer = await health_pb2_grpc.HealthStub(channel).Check(ask(), timeout=10)
    assert answer.status == NOT_SERVING
    stuck.cancel()

"""Requests that are none, or do not come: over real connections, before any handler has them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from siren_grpc.abuse.bad_calls import LIST, RECOGNIZE, STREAM
from siren_grpc.abuse.http2 import Http2, message
from siren_grpc.abuse.outcome import Outcome
from siren_grpc.domain.errors import IdleTimeout
from siren_grpc.server.front_end import Catalog
from siren_grpc.server.names import ModelNames
from siren_grpc.server.unreadable import UnreadableRequests
from tests.support.bare_front_end import Running, front_end
from tests.support.history.play import Aborted, Context
from tests.support.reads import Reads
from tests.support.wire import failure

IDLE_S = 0.2
WAIT_S = 20.0
HEALTH = "/grpc.health.v1.Health/Check"
WATCH = "/grpc.health.v1.Health/Watch"
REFLECTIONS = tuple(
    f"/grpc.reflection.{v}.ServerReflection/ServerReflectionInfo" for v in ("v1", "v1alpha")
)
GARBAGE = b"\xff" * 8
HALF = message(bytes(1000), length=1 << 19)


async def silent(server: Running, path: str, sent: bytes = b"") -> Outcome:
    """Begin a call, send it so much, and wait for what the server makes of that."""
    async with await Http2.connect(server.target) as connection:
        stream = connection.begin(path)
        if sent:
            connection.data(stream, sent)
        return await connection.ends(stream, deadline_s=WAIT_S)


async def ended(server: Running, path: str, *messages: bytes) -> Outcome:
    """Make a call with these messages and half-close it."""
    async with await Http2.connect(server.target) as connection:
        return await connection.call(path, messages, deadline_s=WAIT_S)


@pytest.mark.parametrize("sent", [b"", HALF], ids=["headers", "half a message"])
@pytest.mark.parametrize("path", [LIST, RECOGNIZE, HEALTH, WATCH, *REFLECTIONS])
async def test_who_begins_a_call_and_sends_no_request_is_let_go(path: str, sent: bytes) -> None:
    async with front_end(idle_timeout_s=IDLE_S) as server:
        outcome = await silent(server, path, sent)
    assert (outcome.code, outcome.reason) == ("DEADLINE_EXCEEDED", "IDLE_TIMEOUT")
    assert f"{IDLE_S:g} s" in outcome.message


async def test_who_asks_reflection_and_then_nothing_more_is_let_go_behind_its_answers() -> None:
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    async with front_end(idle_timeout_s=IDLE_S) as server, server.channel() as channel:
        call = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(
            timeout=WAIT_S
        )
        for _ in range(2):
            await call.write(request)
            answer = await call.read()
            assert answer.HasField("list_services_response")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call.read()
    told = failure(caught.value)
    assert (told.reason, told.domain) == ("IDLE_TIMEOUT", "siren")
    assert told.code is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_a_live_stream_watches_its_client_itself() -> None:
    async with front_end(idle_timeout_s=IDLE_S) as server:
        await server.front_end.serve(Catalog((), ModelNames()))
        outcome = await silent(server, STREAM)
    assert outcome.reason == "IDLE_TIMEOUT"
    assert "no config came" in outcome.message


async def test_each_call_without_a_request_is_counted_once_by_its_method_and_reason() -> None:
    async with front_end(idle_timeout_s=IDLE_S) as server:
        await server.front_end.serve(Catalog((), ModelNames()))
        for path in (STREAM, RECOGNIZE, LIST, HEALTH, *REFLECTIONS):
            assert (await ended(server, path, GARBAGE)).reason == "INVALID_MESSAGE"
        for path in (STREAM, RECOGNIZE, LIST, HEALTH):
            assert (await ended(server, path)).reason == "INVALID_MESSAGE"
            assert (await silent(server, path)).reason == "IDLE_TIMEOUT"
        assert (await ended(server, LIST, b"")).code == "OK"
    assert server.calls == {
        (method, reason): n
        for method in ("StreamingRecognize", "Recognize", "ListModels")
        for reason, n in (("INVALID_MESSAGE", 2), ("IDLE_TIMEOUT", 1))
    } | {("ListModels", "OK"): 1}


@pytest.mark.parametrize("path", [LIST, RECOGNIZE])
async def test_such_a_call_is_found_in_the_log_as_any_other(
    path: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    never = asyncio.Event()

    async def nothing() -> AsyncIterator[bytes]:
        await never.wait()
        yield b""

    async with front_end(idle_timeout_s=IDLE_S) as server, server.channel() as channel:
        for requests, reason in ((iter([GARBAGE]), "INVALID_MESSAGE"), (nothing(), "IDLE_TIMEOUT")):
            call = channel.stream_unary(path)(requests, timeout=WAIT_S)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call
            assert failure(caught.value).reason == reason
            trailers = dict(caught.value.trailing_metadata())
            assert f"session {trailers['siren-session-id']}: {reason}: " in caplog.text
        never.set()


def unary() -> Any:
    async def answer(request: Any, context: Any) -> Any:
        raise AssertionError("no request has come")

    return grpc.unary_unary_rpc_method_handler(answer, request_deserializer=bytes)


def stream() -> Any:
    async def answer(requests: Any, context: Any) -> Any:
        async for request in requests:
            yield request

    return grpc.stream_stream_rpc_method_handler(answer, request_deserializer=bytes)


@pytest.mark.parametrize("is_cancelled", [False, True], ids=["idle", "client gone"])
@pytest.mark.parametrize("kind", [unary, stream])
async def test_a_read_that_grpc_has_begun_is_never_cancelled(
    kind: Any, is_cancelled: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """It would not free what it set aside for it."""

    async def continuation(details: Any) -> Any:
        return kind()

    class Details:
        method = "/x/Y"

    interceptor = UnreadableRequests(60.0 if is_cancelled else 0.01)
    handler = await interceptor.intercept_service(continuation, Details())  # type: ignore[arg-type]
    reads = Reads()

    async def run() -> None:
        if handler.stream_unary is not None:
            await handler.stream_unary(reads, Context())
        else:
            async for _ in handler.stream_stream(reads, Context()):
                raise AssertionError("nothing was asked")

    call = asyncio.create_task(run())
    await asyncio.wait_for(reads.is_waiting.wait(), 10)
    if is_cancelled:
        call.cancel()
    (outcome,) = await asyncio.wait_for(asyncio.gather(call, return_exceptions=True), 10)
    if is_cancelled:
        assert isinstance(outcome, asyncio.CancelledError)
    else:
        assert isinstance(outcome, Aborted)
        assert outcome.reason == IdleTimeout.reason.value
    await asyncio.sleep(0)
    assert not reads.was_cancelled
    reads.is_over.set()
    await asyncio.wait_for(reads.is_done.wait(), 10)
    await asyncio.sleep(0)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []

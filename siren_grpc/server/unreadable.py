"""Requests that are none: told to the client as what they are, of whatever service.

Left to itself gRPC answers bytes that are no protobuf with UNKNOWN and the name of a Python class,
and with a traceback in the log: a client's fault, reported as the server's. A call that ends
without the one request its method takes it does not answer at all.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any, TypeAlias

import grpc
from google.protobuf.message import DecodeError

from siren_grpc.domain.errors import InvalidMessage
from siren_grpc.server.status import to_status

_log = logging.getLogger(__name__)
_Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"  # generic for mypy only
_Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"


class _Unreadable:
    """Stands for a request that is none."""

    def __init__(self, error: DecodeError) -> None:
        self._cause = error

    def to_error(self) -> InvalidMessage:
        return InvalidMessage(f"the request is not a message of this method ({self._cause})")


class UnreadableRequests(grpc.aio.ServerInterceptor):
    """Ends calls whose request is missing, or does not decode, with INVALID_MESSAGE."""

    def __init__(self) -> None:
        """Start with no method known; each is wrapped once."""
        self._wrapped: dict[str, _Handler] = {}

    async def intercept_service(
        self, continuation: Any, handler_call_details: grpc.HandlerCallDetails
    ) -> Any:
        """See `grpc.aio.ServerInterceptor`."""
        handler: _Handler | None = await continuation(handler_call_details)
        if handler is None or handler.request_deserializer is None:
            return handler
        method = handler_call_details.method
        wrapped = self._wrapped.get(method)
        if wrapped is None:
            self._wrapped[method] = wrapped = _wrap(handler)
        return wrapped


def _wrap(handler: Any) -> _Handler:
    """Return a handler that does what another one does, unless a request does not decode.

    Its requests are a stream, also where there is one only: a call that half-closes without it is
    answered here, and by gRPC never.
    """
    read = handler.request_deserializer

    def deserialize(data: bytes) -> Any:
        try:
            return read(data)
        except DecodeError as error:
            return _Unreadable(error)

    async def answers(requests: Any, context: _Context) -> Any:
        readable: Any = _ReadableRequests(requests)
        if not handler.request_streaming:
            readable = await anext(readable, None)
            if readable is None:
                raise InvalidMessage("the call ended without a request; this method takes one")
        return _behaviour(handler)(readable, context)

    async def respond(requests: Any, context: _Context) -> Any:
        try:
            return await (await answers(requests, context))
        except InvalidMessage as error:
            await _abort(context, error)

    async def stream(requests: Any, context: _Context) -> AsyncIterator[Any]:
        try:
            responses = await answers(requests, context)
            if inspect.isawaitable(responses):  # it writes to the context instead
                await responses
                return
            async with aclosing(responses):
                async for response in responses:
                    yield response
        except InvalidMessage as error:
            await _abort(context, error)

    coders = (deserialize, handler.response_serializer)
    if handler.response_streaming:
        return grpc.stream_stream_rpc_method_handler(stream, *coders)
    return grpc.stream_unary_rpc_method_handler(respond, *coders)


def _behaviour(handler: Any) -> Callable[[Any, _Context], Any]:
    """Return what a handler calls, of whichever kind it is."""
    kinds = (handler.unary_unary, handler.unary_stream, handler.stream_unary, handler.stream_stream)
    behaviour: Callable[[Any, _Context], Any] = next(kind for kind in kinds if kind is not None)
    return behaviour


class _ReadableRequests:
    """Raises InvalidMessage where a stream's next request does not decode."""

    def __init__(self, requests: Any) -> None:
        self._requests = requests
        self._next: Callable[[], Any] | None = None

    def __aiter__(self) -> _ReadableRequests:
        return self

    async def __anext__(self) -> Any:
        if self._next is None:  # gRPC complains of an iterator that nobody asks for anything
            self._next = aiter(self._requests).__anext__
        request = await self._next()
        if isinstance(request, _Unreadable):
            raise request.to_error()
        return request


async def _abort(context: _Context, error: InvalidMessage) -> None:
    _log.info("%s: %s", error.reason.value, error.message)
    await context.abort_with_status(to_status(error))

"""Requests that are none, or do not come: told to the client as what it did, of whatever service.

Left to itself gRPC answers bytes that are no protobuf with UNKNOWN and the name of a Python class,
and with a traceback in the log: a client's fault, reported as the server's. A call that ends
without the one request its method takes it does not answer at all, and for one that does not come,
or of which a part does not, it waits for ever and keeps what has come.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Set
from contextlib import aclosing
from typing import Any, TypeAlias

import grpc
from google.protobuf.message import DecodeError

from siren_grpc.domain.errors import IdleTimeout, InvalidMessage, SirenError
from siren_grpc.server.next_message import read_in_time
from siren_grpc.server.status import to_status

_log = logging.getLogger(__name__)
_Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"  # generic for mypy only
_Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Refuse: TypeAlias = Callable[[_Context, SirenError], Awaitable[None]]
"""Ends a call with an error. Raises what gRPC aborts a handler with."""
_IDLE_TIMEOUT_S = 60.0


class _Unreadable:
    """Stands for a request that is none."""

    def __init__(self, error: DecodeError) -> None:
        self._cause = error

    def to_error(self) -> InvalidMessage:
        return InvalidMessage(f"the request is not a message of this method ({self._cause})")


class UnreadableRequests(grpc.aio.ServerInterceptor):
    """Ends calls whose request is missing, does not decode or does not come.

    With INVALID_MESSAGE or IDLE_TIMEOUT.
    """

    def __init__(
        self,
        idle_timeout_s: float = _IDLE_TIMEOUT_S,
        *,
        refusals: Mapping[str, Refuse] | None = None,
        self_timed: Set[str] = frozenset(),
    ) -> None:
        """Start with no method known; each is wrapped once.

        idle_timeout_s: how long a client may take for its request or, where requests are a stream,
        for the next one; all of it, however slowly it comes. refusals: how calls are ended whose
        service counts them, by the path of their method. self_timed: paths of the methods that
        watch for themselves how long they wait.
        """
        self._idle_timeout_s = idle_timeout_s
        self._refusals = refusals or {}
        self._self_timed = self_timed
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
            timeout_s = None if method in self._self_timed else self._idle_timeout_s
            wrapped = _wrap(handler, timeout_s, self._refusals.get(method, _abort))
            self._wrapped[method] = wrapped
        return wrapped


def _wrap(handler: Any, timeout_s: float | None, refuse: Refuse) -> _Handler:
    """Return a handler that does what another one does, unless a request is none.

    Its requests are a stream, also where there is one only: a call that half-closes without it is
    answered here, and by gRPC never. timeout_s: None to wait for each as long as it takes.
    """
    read = handler.request_deserializer

    def deserialize(data: bytes) -> Any:
        try:
            return read(data)
        except DecodeError as error:
            return _Unreadable(error)

    async def answers(requests: Any, context: _Context) -> Any:
        is_stream = handler.request_streaming
        readable: Any = _ReadableRequests(requests, timeout_s, is_stream=is_stream)
        if not is_stream:
            readable = await anext(readable, None)
            if readable is None:
                raise InvalidMessage("the call ended without a request; this method takes one")
        return _behaviour(handler)(readable, context)

    async def respond(requests: Any, context: _Context) -> Any:
        try:
            return await (await answers(requests, context))
        except (InvalidMessage, IdleTimeout) as error:
            await refuse(context, error)

    async def stream(requests: Any, context: _Context) -> AsyncIterator[Any]:
        try:
            responses = await answers(requests, context)
            if inspect.isawaitable(responses):  # it writes to the context instead
                await responses
                return
            async with aclosing(responses):
                async for response in responses:
                    yield response
        except (InvalidMessage, IdleTimeout) as error:
            await refuse(context, error)

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
    """Raises where a call's next request does not decode (InvalidMessage) or come (IdleTimeout)."""

    def __init__(self, requests: Any, timeout_s: float | None, *, is_stream: bool) -> None:
        self._requests = requests
        self._timeout_s = timeout_s
        self._is_stream = is_stream
        self._next: Callable[[], Any] | None = None

    def __aiter__(self) -> _ReadableRequests:
        return self

    async def __anext__(self) -> Any:
        if self._next is None:  # gRPC complains of an iterator that nobody asks for anything
            self._next = aiter(self._requests).__anext__
        if self._timeout_s is None:
            request = await self._next()
        else:
            otherwise = _idle(self._timeout_s, is_stream=self._is_stream)
            request = await read_in_time(self._next(), self._timeout_s, otherwise)
        if isinstance(request, _Unreadable):
            raise request.to_error()
        return request


def _idle(timeout_s: float, *, is_stream: bool) -> str:
    ask = "ask the operator for a larger idle_timeout_s"
    if is_stream:
        return f"no message for {timeout_s:g} s; half-close the call behind its last one, or {ask}"
    return (
        f"the request has not come as a whole within {timeout_s:g} s; send it at once (what is "
        f"large for its line, in a method that streams), or {ask}"
    )


async def _abort(context: _Context, error: SirenError) -> None:
    _log.info("%s: %s", error.reason.value, error.message)
    await context.abort_with_status(to_status(error))

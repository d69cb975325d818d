"""The asyncio client: `siren_client.requests` and `convert` at a grpc.aio channel."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncGenerator, AsyncIterable, Iterable
from contextlib import aclosing, suppress
from random import random
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
from siren.v1 import speech_pb2 as pb
from siren.v1.speech_pb2_grpc import SpeechServiceStub

from siren_client._feed_aio import AsyncFeed
from siren_client.connection import (
    DEFAULT_TARGET,
    ChannelOptions,
    Metadata,
    make_connection,
)
from siren_client.convert import (
    from_list_models_response,
    from_recognize_response,
    to_config,
    to_recognize_request,
)
from siren_client.errors import SirenError, siren_errors
from siren_client.health import (
    CHECK_METHOD,
    SPEECH_SERVICE,
    parse_check,
    serialize_check,
    status_of_failure,
)
from siren_client.reconnect import DEFAULT_RECONNECT, LEAVE_S, MOVE_CHECK_S, Reconnect, moved
from siren_client.requests import check_audio
from siren_client.tls import Tls
from siren_client.token import Token
from siren_client.types import (
    AudioItem,
    Model,
    Recognition,
    RecognitionOptions,
    Result,
    ServingStatus,
)
from siren_client.unbroken import GiveUp, UnbrokenStream

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack


class AsyncSirenClient:
    """A connection to a server, for asyncio. Make it inside a running event loop.

    Use it as an async context manager, or await `close()`.

    Args:
        target: Address of the server, `host:port`.
        credentials: `Tls()`, or gRPC's own; None sends everything in plain text.
        token: Sent with every call as `authorization: Bearer <token>`, resumed and
            repeated ones too: a string, or a function that is called each time and so
            can give a fresh one, such as `FileToken`, without waiting for anything.
        plaintext_token: Send the token without TLS to another machine, too.
        metadata: Further pairs to send with every call.
        options: Options of the gRPC channel.
        timeout_s: Seconds `list_models()` and `health()` may take. `stream()` and
            `recognize()`, which take as long as their audio, have one of their own.
    """

    def __init__(
        self,
        target: str = DEFAULT_TARGET,
        *,
        credentials: grpc.ChannelCredentials | Tls | None = None,
        token: Token | None = None,
        plaintext_token: bool = False,
        metadata: Metadata = (),
        options: ChannelOptions = (),
        timeout_s: float | None = 10.0,
    ) -> None:
        self._connection = make_connection(
            target,
            credentials=credentials,
            token=token,
            plaintext_token=plaintext_token,
            metadata=metadata,
            options=options,
            timeout_s=timeout_s,
        )
        credentials = self._connection.credentials
        if credentials is None:
            self._channel = grpc.aio.insecure_channel(target, options=self._connection.options)
        else:
            self._channel = grpc.aio.secure_channel(
                target, credentials, options=self._connection.options
            )
        self._is_closed = False
        self._calls: weakref.WeakSet[Any] = weakref.WeakSet()
        self._streams: weakref.WeakSet[UnbrokenStream] = weakref.WeakSet()
        self._stub = SpeechServiceStub(self._channel)
        self._check = self._channel.unary_unary(
            CHECK_METHOD, request_serializer=serialize_check, response_deserializer=parse_check
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection; streams that are still open are cancelled."""
        self._is_closed = True
        # The channel looks for its open calls in the stacks of tasks and, depending on
        # grpcio's version, misses those whose reader waits in a generator.
        for call in list(self._calls):
            call.cancel()
        await asyncio.gather(*(self._leave(stream) for stream in list(self._streams)))
        await self._channel.close()

    def stream(
        self,
        audio: AsyncIterable[AudioItem] | Iterable[AudioItem],
        *,
        timeout_s: float | None = None,
        reconnect: Reconnect | None = DEFAULT_RECONNECT,
        **options: Unpack[RecognitionOptions],
    ) -> AsyncGenerator[Result, None]:
        """Recognise audio while it arrives.

        Args:
            audio: Yields bytes (any length; a sample may be split) and `Control`s. It
                is read in a task of its own, no faster than the server takes audio,
                and no further once the stream has ended. If it raises, the call is
                cancelled and the stream raises the same exception. A plain iterable
                must have its audio at hand: waiting would stop the event loop.
            timeout_s: Seconds after which the stream ends with `DEADLINE_EXCEEDED`.
            reconnect: How to go on when the connection breaks: the results are then
                those of one unbroken stream, with `Resumed` between them. None: it
                fails.
            options: How to recognise it, see `RecognitionOptions`.

        Returns:
            The results as they come, `Started` first. The call starts with the first
            of them; closing the iterator (`aclose()`, `contextlib.aclosing`), or
            cancelling the task that waits on it, cancels the call. A failed call
            raises `SirenError` after every result before that was yielded.

        Raises:
            TypeError, ValueError: An option that cannot be sent.
        """
        check_audio(audio)
        stream = UnbrokenStream(to_config(**options), reconnect)
        self._streams.add(stream)
        return self._stream(stream, AsyncFeed(audio, stream), timeout_s)

    async def _stream(
        self, stream: UnbrokenStream, feed: AsyncFeed, timeout_s: float | None
    ) -> AsyncGenerator[Result, None]:
        deadline = None if timeout_s is None else monotonic() + timeout_s
        try:
            while True:
                try:
                    async with aclosing(self._call(stream, feed, deadline)) as results:
                        async for result in results:
                            yield result
                    return
                except SirenError as broken:
                    error = broken
                if error is feed.error or self._is_closed:
                    raise error
                outcome = stream.fail(error, now=monotonic(), jitter=random(), deadline=deadline)
                await asyncio.sleep(outcome.delay_s)
                if self._is_closed:
                    raise SirenError(grpc.StatusCode.CANCELLED, "the client was closed")
                if isinstance(outcome, GiveUp):
                    for result in outcome.results:
                        yield result
                    if outcome.error is not None:
                        raise outcome.error
                    return
        finally:
            await feed.close()
            await self._leave(stream)

    async def _call(
        self, stream: UnbrokenStream, feed: AsyncFeed, deadline: float | None
    ) -> AsyncGenerator[Result, None]:
        """Run one call of a stream. Raises SirenError when it failed."""
        timeout_s = None if deadline is None else max(0.0, deadline - monotonic())
        call = self._stub.StreamingRecognize(timeout=timeout_s, metadata=self._connection.metadata)
        self._calls.add(call)
        sending = asyncio.create_task(feed.send(call, stream.begin_call()))
        try:
            responses = aiter(call)
            while True:
                with siren_errors():
                    response = await anext(responses, None)
                if response is None:
                    return
                results = stream.receive(response, now=monotonic())
                feed.note_answer()
                for result in results:
                    yield result
                if stream.wants_to_move:
                    if await self._is_served_elsewhere():
                        raise moved()
                    stream.stay()
        except (SirenError, asyncio.CancelledError) as error:
            # gRPC raises CancelledError for a call that was cancelled on this side,
            # whoever did it; to the caller only the task's own looks like one.
            if feed.error is not None:
                raise feed.error from None
            if self._is_closed and isinstance(error, asyncio.CancelledError):
                raise SirenError(grpc.StatusCode.CANCELLED, "the client was closed") from None
            raise
        finally:
            sending.cancel()
            call.cancel()
            await asyncio.wait([sending])

    async def _is_served_elsewhere(self) -> bool:
        """Ask who takes new calls, now that the connection is closed to them."""
        with suppress(SirenError), siren_errors():
            status = await self._check(
                SPEECH_SERVICE, timeout=MOVE_CHECK_S, metadata=self._connection.metadata
            )
            return status is ServingStatus.SERVING
        return False

    async def _leave(self, stream: UnbrokenStream) -> None:
        """Tell the server of a stream left before its end, if that takes no time."""
        goodbye = stream.leave()
        if goodbye is not None:
            with suppress(Exception), siren_errors():
                call = self._stub.StreamingRecognize(
                    iter([goodbye]), timeout=LEAVE_S, metadata=self._connection.metadata
                )
                await anext(aiter(call), None)

    async def recognize(
        self,
        audio: bytes | bytearray | memoryview,
        *,
        timeout_s: float | None = None,
        **options: Unpack[RecognitionOptions],
    ) -> Recognition:
        """Recognise one complete recording, which must fit one message of the server.

        Args:
            audio: The whole recording in the encoding of the options.
            timeout_s: Seconds after which the call ends with `DEADLINE_EXCEEDED`.
            options: How to recognise it, see `RecognitionOptions`.

        Raises:
            SirenError: The server refused it or is not there.
            TypeError: The audio is not bytes.
            ValueError: An option that cannot be sent.
        """
        request = to_recognize_request(audio, to_config(**options))
        with siren_errors():
            response = await self._stub.Recognize(
                request, timeout=timeout_s, metadata=self._connection.metadata
            )
        return from_recognize_response(response)

    async def list_models(self) -> list[Model]:
        """List what the server can run, the default model first.

        Raises:
            SirenError: The server refused it or is not there.
        """
        with siren_errors():
            response = await self._stub.ListModels(
                pb.ListModelsRequest(),
                timeout=self._connection.timeout_s,
                metadata=self._connection.metadata,
            )
        return from_list_models_response(response)

    async def health(self, service: str = "") -> ServingStatus:
        """Ask how the server, or one of its services, is.

        Args:
            service: Such as `siren.v1.SpeechService`; empty for the whole server.

        Raises:
            SirenError: The server is not there (`UNAVAILABLE`) or does not answer.
        """
        try:
            with siren_errors():
                return await self._check(
                    service,
                    timeout=self._connection.timeout_s,
                    metadata=self._connection.metadata,
                )
        except SirenError as error:
            return status_of_failure(error)

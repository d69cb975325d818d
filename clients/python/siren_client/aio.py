"""The asyncio client: `siren_client.requests` and `convert` at a grpc.aio channel."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Iterable,
    Iterator,
)
from types import TracebackType
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
from siren.v1 import speech_pb2 as pb
from siren.v1.speech_pb2_grpc import SpeechServiceStub

from siren_client.connection import (
    DEFAULT_TARGET,
    ChannelOptions,
    Metadata,
    make_connection,
)
from siren_client.convert import (
    from_list_models_response,
    from_recognize_response,
    from_response,
    to_config,
)
from siren_client.errors import SirenError, siren_errors
from siren_client.health import CHECK_METHOD, parse_check, serialize_check
from siren_client.requests import RequestSequence
from siren_client.types import (
    AudioItem,
    Model,
    Recognition,
    RecognitionOptions,
    Result,
    ServingStatus,
)

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack


class AsyncSirenClient:
    """A connection to a server, for asyncio. Make it inside a running event loop.

    Use it as an async context manager, or await `close()`.

    Args:
        target: Address of the server, `host:port`.
        credentials: Such as `grpc.ssl_channel_credentials()`; None sends everything,
            the token too, in plain text.
        token: Sent with every call as `authorization: Bearer <token>`.
        metadata: Further pairs to send with every call.
        options: Options of the gRPC channel.
        timeout_s: Seconds `list_models()` and `health()` may take. `stream()` and
            `recognize()`, which take as long as their audio, have one of their own.
    """

    def __init__(
        self,
        target: str = DEFAULT_TARGET,
        *,
        credentials: grpc.ChannelCredentials | None = None,
        token: str | None = None,
        metadata: Metadata = (),
        options: ChannelOptions = (),
        timeout_s: float | None = 10.0,
    ) -> None:
        self._connection = make_connection(
            target,
            credentials=credentials,
            token=token,
            metadata=metadata,
            options=options,
            timeout_s=timeout_s,
        )
        if credentials is None:
            self._channel = grpc.aio.insecure_channel(target, options=self._connection.options)
        else:
            self._channel = grpc.aio.secure_channel(
                target, credentials, options=self._connection.options
            )
        self._is_closed = False
        self._calls: weakref.WeakSet[Any] = weakref.WeakSet()
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
        await self._channel.close()

    def stream(
        self,
        audio: AsyncIterable[AudioItem] | Iterable[AudioItem],
        *,
        timeout_s: float | None = None,
        **options: Unpack[RecognitionOptions],
    ) -> AsyncGenerator[Result, None]:
        """Recognise audio while it arrives.

        Args:
            audio: Yields bytes (any length; a sample may be split) and `Control`s. It
                is read in a task of its own, no faster than the server takes audio,
                and no further once the stream has ended. If it raises, the call is
                cancelled and the stream raises the same exception. A plain iterable
                must have its audio at hand: waiting would stop the event loop.
            timeout_s: Seconds after which the call ends with `DEADLINE_EXCEEDED`.
            options: How to recognise it, see `RecognitionOptions`.

        Returns:
            The results as they come, `Started` first. The call starts with the first
            of them; closing the iterator (`aclose()`, `contextlib.aclosing`), or
            cancelling the task that waits on it, cancels the call. A failed call
            raises `SirenError` after every result before that was yielded.

        Raises:
            TypeError, ValueError: An option that cannot be sent.
        """
        if isinstance(audio, (bytes, bytearray, memoryview, str)):
            raise TypeError(
                "audio is an iterable of bytes: pass [data], or use recognize(data) "
                "for a complete recording"
            )
        return self._stream(_Feed(audio, RequestSequence(to_config(**options))), timeout_s)

    async def _stream(self, feed: _Feed, timeout_s: float | None) -> AsyncGenerator[Result, None]:
        call = self._stub.StreamingRecognize(timeout=timeout_s, metadata=self._connection.metadata)
        self._calls.add(call)
        sending = asyncio.create_task(feed.send(call))
        try:
            responses = aiter(call)
            while True:
                with siren_errors():
                    response = await anext(responses, None)
                if response is None:
                    return
                result = from_response(response)
                if result is not None:
                    yield result
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
            ValueError: An option that cannot be sent.
        """
        request = pb.RecognizeRequest(config=to_config(**options), audio=bytes(audio))
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
            if error.status is grpc.StatusCode.NOT_FOUND:
                return ServingStatus.SERVICE_UNKNOWN
            raise


class _Feed:
    """The caller's audio as requests, sent by a task of its own."""

    def __init__(
        self, audio: AsyncIterable[AudioItem] | Iterable[AudioItem], sequence: RequestSequence
    ) -> None:
        self.error: BaseException | None = None
        self._audio = aiter(audio) if isinstance(audio, AsyncIterable) else _iterate(iter(audio))
        self._sequence = sequence

    async def send(self, call: Any) -> None:
        """Send until the audio or the call is over; cancel the call if the audio fails."""
        requests = [self._sequence.open()]
        while True:
            for request in requests:
                if not await _is_taken(call.write(request)):
                    return
            if self._sequence.is_ended:
                break
            try:
                requests = self._sequence.push(await anext(self._audio))
            except StopAsyncIteration:
                break
            except BaseException as error:
                # The reader raises it. A cancelled send() is the reader's own doing,
                # but audio may also raise CancelledError, and must not be waited for.
                if not isinstance(error, asyncio.CancelledError):
                    self.error = error
                call.cancel()
                return
        await _is_taken(call.done_writing())


async def _is_taken(writing: Awaitable[None]) -> bool:
    """Wait for a write; False when the call is over, whose status the reader gets."""
    try:
        await writing
    except (grpc.RpcError, asyncio.InvalidStateError):
        return False
    return True


async def _iterate(audio: Iterator[AudioItem]) -> AsyncIterator[AudioItem]:
    for item in audio:
        yield item

"""The blocking client: `siren_client.requests` and `convert` at a gRPC channel."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any

import grpc
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


class SirenClient:
    """A connection to a server, for code that blocks. Threads may share it.

    Use it as a context manager, or call `close()`.

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
            self._channel = grpc.insecure_channel(target, options=self._connection.options)
        else:
            self._channel = grpc.secure_channel(
                target, credentials, options=self._connection.options
            )
        self._stub = SpeechServiceStub(self._channel)
        self._check = self._channel.unary_unary(
            CHECK_METHOD, request_serializer=serialize_check, response_deserializer=parse_check
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; streams that are still open are cancelled."""
        self._channel.close()

    def stream(
        self,
        audio: Iterable[AudioItem],
        *,
        timeout_s: float | None = None,
        **options: Unpack[RecognitionOptions],
    ) -> RecognitionStream:
        """Recognise audio while it arrives.

        Args:
            audio: Yields bytes (any length; a sample may be split) and `Control`s.
                It is read in a thread of its own, no faster than the server takes
                audio, and no further once the stream has ended. If it raises, the
                call is cancelled and the stream raises the same exception.
            timeout_s: Seconds after which the call ends with `DEADLINE_EXCEEDED`.
            options: How to recognise it, see `RecognitionOptions`.

        Returns:
            The results as they come, `Started` first. Closing it, or dropping it,
            cancels the call.

        Raises:
            TypeError, ValueError: An option that cannot be sent. What the server
                refuses is a `SirenError`, raised while iterating.
        """
        if isinstance(audio, (bytes, bytearray, memoryview, str)):
            raise TypeError(
                "audio is an iterable of bytes: pass [data], or use recognize(data) "
                "for a complete recording"
            )
        feed = _Feed(iter(audio), RequestSequence(to_config(**options)))
        call = self._stub.StreamingRecognize(
            feed.requests(), timeout=timeout_s, metadata=self._connection.metadata
        )
        feed.attach(call)
        return RecognitionStream(call, feed)

    def recognize(
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
            response = self._stub.Recognize(
                request, timeout=timeout_s, metadata=self._connection.metadata
            )
        return from_recognize_response(response)

    def list_models(self) -> list[Model]:
        """List what the server can run, the default model first.

        Raises:
            SirenError: The server refused it or is not there.
        """
        with siren_errors():
            response = self._stub.ListModels(
                pb.ListModelsRequest(),
                timeout=self._connection.timeout_s,
                metadata=self._connection.metadata,
            )
        return from_list_models_response(response)

    def health(self, service: str = "") -> ServingStatus:
        """Ask how the server, or one of its services, is.

        Args:
            service: Such as `siren.v1.SpeechService`; empty for the whole server.

        Raises:
            SirenError: The server is not there (`UNAVAILABLE`) or does not answer.
        """
        try:
            with siren_errors():
                return self._check(
                    service,
                    timeout=self._connection.timeout_s,
                    metadata=self._connection.metadata,
                )
        except SirenError as error:
            if error.status is grpc.StatusCode.NOT_FOUND:
                return ServingStatus.SERVICE_UNKNOWN
            raise


class RecognitionStream(Iterator[Result]):
    """The results of one stream: an iterator that any thread may `close()`."""

    def __init__(self, call: Any, feed: _Feed) -> None:
        self._call = call
        self._feed = feed
        self._is_closed = False

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Result:
        """Wait for the next result.

        Raises:
            SirenError: The call failed; every result before that was yielded.
            StopIteration: The server has sent everything, or `close()` was called.
        """
        while True:
            try:
                with siren_errors():
                    response = next(self._call)
            except SirenError:
                if self._feed.error is not None:
                    raise self._feed.error from None
                if self._is_closed:
                    raise StopIteration from None
                raise
            result = from_response(response)
            if result is not None:
                return result

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Cancel the call, if it is not over; iterating ends."""
        self._is_closed = True
        self._call.cancel()


class _Feed:
    """The caller's audio as requests, drawn by the thread in which gRPC sends.

    It refers to the call weakly: a stream that its owner drops is cancelled by
    gRPC when it is collected, which this thread must not prevent.
    """

    def __init__(self, audio: Iterator[AudioItem], sequence: RequestSequence) -> None:
        self.error: BaseException | None = None
        self._audio = audio
        self._sequence = sequence
        self._call: weakref.ref[Any] | None = None
        self._is_attached = threading.Event()

    def attach(self, call: Any) -> None:
        """Say which call to cancel when the audio fails."""
        self._call = weakref.ref(call)
        self._is_attached.set()

    def requests(self) -> Iterator[pb.StreamingRecognizeRequest]:
        yield self._sequence.open()
        while not self._sequence.is_ended:
            try:
                requests = self._sequence.push(next(self._audio))
            except StopIteration:
                return
            except BaseException as error:  # the reader raises it
                self.error = error
                self._cancel()
                return
            yield from requests

    def _cancel(self) -> None:
        # The audio may fail before attach(): gRPC draws from it within the call
        # that returns the call.
        self._is_attached.wait()
        call = None if self._call is None else self._call()
        if call is not None:
            call.cancel()

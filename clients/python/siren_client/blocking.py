"""The blocking client: `siren_client.requests` and `convert` at a gRPC channel."""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from random import random
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Any

import grpc
from siren.v1 import speech_pb2 as pb
from siren.v1.speech_pb2_grpc import SpeechServiceStub

from siren_client._feed_blocking import BlockingFeed
from siren_client._goodbyes import Goodbyes
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
from siren_client.unbroken import GiveUp, Retry, UnbrokenStream

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

_TIMEOUT = grpc.StatusCode.DEADLINE_EXCEEDED


class SirenClient:
    """A connection to a server, for code that blocks. Threads may share it.

    Use it as a context manager, or call `close()`.

    Args:
        target: Address of the server, `host:port`.
        credentials: `Tls()`, or gRPC's own; None sends everything in plain text.
        token: Sent with every call as `authorization: Bearer <token>`, resumed and
            repeated ones too: a string, or a function that is called each time and so
            can give a fresh one, such as `FileToken`.
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
            self._channel = grpc.insecure_channel(target, options=self._connection.options)
        else:
            self._channel = grpc.secure_channel(
                target, credentials, options=self._connection.options
            )
        self._feeds: weakref.WeakSet[BlockingFeed] = weakref.WeakSet()
        self._stub = SpeechServiceStub(self._channel)
        self._goodbyes = Goodbyes(
            lambda goodbye: self._stub.StreamingRecognize(
                iter([goodbye]), timeout=LEAVE_S, metadata=self._connection.metadata
            )
        )
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
        for feed in list(self._feeds):
            feed.stop(SirenError(grpc.StatusCode.CANCELLED, "the client was closed"))
            self._goodbyes.defer(feed)
        self._goodbyes.say_deferred()
        self._channel.close()

    def stream(
        self,
        audio: Iterable[AudioItem],
        *,
        timeout_s: float | None = None,
        reconnect: Reconnect | None = DEFAULT_RECONNECT,
        **options: Unpack[RecognitionOptions],
    ) -> RecognitionStream:
        """Recognise audio while it arrives.

        Args:
            audio: Yields bytes (any length; a sample may be split) and `Control`s.
                It is read in a thread of its own, no faster than the server takes
                audio, and no further once the stream has ended. If it raises, the
                call is cancelled and the stream raises the same exception.
            timeout_s: Seconds after which the stream ends with `DEADLINE_EXCEEDED`.
            reconnect: How to go on when the connection breaks: the results are then
                those of one unbroken stream, with `Resumed` between them. None: it
                fails.
            options: How to recognise it, see `RecognitionOptions`.

        Returns:
            The results as they come, `Started` first. Closing it, or dropping it,
            cancels the call.

        Raises:
            TypeError, ValueError: An option that cannot be sent. What the server
                refuses is a `SirenError`, raised while iterating.
            SirenError: The function that gives the token failed.
        """
        check_audio(audio)
        feed = BlockingFeed(iter(audio), UnbrokenStream(to_config(**options), reconnect))
        self._feeds.add(feed)
        deadline = None if timeout_s is None else monotonic() + timeout_s

        def start(requests: Iterator[pb.StreamingRecognizeRequest]) -> Any:
            left_s = None if deadline is None else max(0.0, deadline - monotonic())
            return self._stub.StreamingRecognize(
                requests, timeout=left_s, metadata=self._connection.metadata
            )

        self._goodbyes.say_deferred()
        return RecognitionStream(feed, start, self._is_served, self._goodbyes, deadline=deadline)

    def _is_served(self) -> bool:
        """Ask who takes new calls, quickly."""
        with suppress(SirenError), siren_errors():
            status = self._check(
                SPEECH_SERVICE, timeout=MOVE_CHECK_S, metadata=self._connection.metadata
            )
            return bool(status is ServingStatus.SERVING)
        return False

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
            TypeError: The audio is not bytes.
            ValueError: An option that cannot be sent.
        """
        request = to_recognize_request(audio, to_config(**options))
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
            return status_of_failure(error)


class RecognitionStream(Iterator[Result]):
    """The results of one stream: an iterator that any thread may `close()`."""

    def __init__(
        self,
        feed: BlockingFeed,
        start: Callable[..., Any],
        is_served: Callable[[], bool],
        goodbyes: Goodbyes,
        *,
        deadline: float | None,
    ) -> None:
        self._feed = feed
        self._deadline = deadline
        self._start = start
        self._is_served = is_served
        self._goodbyes = goodbyes
        self._results: deque[Result] = deque()
        self._error: SirenError | None = None
        """What to raise when the results are out."""
        self._is_over = False
        self._call = self._begin_call()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Result:
        """Wait for the next result.

        Raises:
            SirenError: The stream failed; every result before that was yielded.
            StopIteration: The server has sent everything, or `close()` was called.
        """
        while not self._results:
            if self._error is not None:
                error, self._error = self._error, None
                raise error
            if self._is_over:
                raise StopIteration
            self._read()
        return self._results.popleft()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        # A thread that waits to send for a stream its owner dropped.
        self._feed.stop()
        self._goodbyes.defer(self._feed)

    def close(self) -> None:
        """Cancel the call, if it is not over; iterating ends."""
        self._feed.stop()
        self._call.cancel()
        if self._feed.stopped_with is None:
            self._goodbyes.say(self._feed)

    def _read(self) -> None:
        try:
            with siren_errors():
                response = next(self._call)
            self._results.extend(self._feed.receive(response, now=monotonic()))
            if self._feed.wants_to_move:
                # A new call: the server has closed this one's connection to others.
                if self._is_served():
                    self._call.cancel()
                    raise moved()
                self._feed.stay()
        except StopIteration:
            self._is_over = True
        except SirenError as error:
            self._fail(error)

    def _fail(self, error: SirenError) -> None:
        if self._feed.error is not None:
            self._is_over = True
            self._goodbyes.say(self._feed)
            raise self._feed.error from None
        outcome = self._feed.fail(error, now=monotonic(), jitter=random(), deadline=self._deadline)
        if outcome.delay_s or isinstance(outcome, Retry):
            if self._feed.wait_stopped(outcome.delay_s):
                outcome = GiveUp((), self._feed.stopped_with)
            elif isinstance(outcome, Retry):
                self._retry()
                return
        self._is_over = True
        self._results.extend(outcome.results)
        self._error = end = outcome.error
        if end is not None and (end.status, end.reason) == (_TIMEOUT, None):
            self._goodbyes.say(self._feed)  # its time is up, by the caller's word

    def _retry(self) -> None:
        try:
            self._call = self._begin_call()
        except SirenError as error:  # no token to show: nothing was sent
            self._fail(error)
            return
        if self._feed.wait_stopped(0.0):
            self._call.cancel()  # the thread that stopped it knew only the call before

    def _begin_call(self) -> Any:
        """Start a call that its audio can cancel.

        The audio's thread refers to it weakly: a stream that its owner drops is cancelled by gRPC
        when it is collected, which that thread must not prevent.
        """
        reference: list[weakref.ref[Any]] = []
        is_known = threading.Event()

        def cancel() -> None:
            # The audio may fail before the call is known: gRPC draws from it within the call
            # that returns the call.
            is_known.wait()
            call = reference[0]()
            if call is not None:
                call.cancel()

        call = self._start(self._feed.requests(cancel))
        reference.append(weakref.ref(call))
        is_known.set()
        return call

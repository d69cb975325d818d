"""One stream over several calls: what to send in each, and when to make another. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import grpc
from siren.v1 import speech_pb2 as pb

from siren_client.caller_view import CallerView
from siren_client.convert import from_response, to_config_request, to_control_request
from siren_client.errors import SirenError
from siren_client.reconnect import Reconnect, is_break, is_refused_resume, is_stream_gone
from siren_client.replay import ReplayBuffer
from siren_client.requests import RequestSequence
from siren_client.types import AudioItem, Control, Result, Resumed

_FIRST_ATTEMPTS = 5
"""Calls made before there was any answer: who never reached a server wants to know soon."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Make another call, after so many seconds."""

    delay_s: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The stream is over: these results still, and then the error; None when all is said."""

    results: tuple[Result, ...]
    error: SirenError | None
    delay_s: float = 0.0
    """Not before so many seconds: the caller's time is not up yet."""


class UnbrokenStream:
    """The state of one stream of the caller. Not for several threads at once.

    A call begins with `begin_call`, sends what `next_request` has, gives each response to
    `receive`, and asks `fail` what to do when it has failed.
    """

    def __init__(self, config: pb.StreamingConfig, policy: Reconnect | None) -> None:
        if config.channel_mode == pb.CHANNEL_MODE_SEPARATE:
            policy = None  # not built: each channel would have a place of its own to go on from
        self._policy = policy
        if policy is not None:
            config.resumable = True
        self._sequence = RequestSequence(config)
        max_bytes = 0 if policy is None else policy.max_buffer_bytes
        self._buffer = ReplayBuffer(config, max_bytes=max_bytes)
        self._is_ended = False
        self._cursor: int | None = 0
        """Index of the next request; None until the server has said which."""
        self._base = 0
        """Index of the first request of the stream the server knows."""
        self._token = ""
        self._last_number = 0
        self._is_resuming = False
        self._view = CallerView()
        self._has_started = False
        self._n_calls = 0
        self._n_attempts = 0
        """Calls that were needed since the caller last saw a result."""
        self._outage_since: float | None = None
        self._outage_s = 0.0
        self._is_draining = False
        """The server of this call is going to stop."""

    @property
    def is_ended(self) -> bool:
        """Whether no request will follow those pushed."""
        return self._is_ended

    @property
    def wants_audio(self) -> bool:
        """Whether `next_request` has sent everything, and more may be pushed."""
        return not self._is_ended and self._cursor == self._buffer.end

    @property
    def is_done_sending(self) -> bool:
        """Whether everything was sent, and nothing follows."""
        return self._is_ended and self._cursor == self._buffer.end

    @property
    def wants_to_move(self) -> bool:
        """Whether it is time to leave a server that is going to stop: between two utterances.

        If another serves, the call is to be ended and given up with `moved()`; else `stay`. A
        stream whose end was sent will have it soon.
        """
        is_moment = self._is_draining and self._view.is_between and not self._is_ended
        return is_moment and self._buffer.can_replay

    def stay(self) -> None:
        """Do not want to move before the next utterance has ended."""
        self._view.expect_utterance()

    def push(self, item: AudioItem) -> None:
        """Take the caller's next item. Raises TypeError for one that is none."""
        for request in self._sequence.push(item):
            self._buffer.append(request)
        self._is_ended = self._sequence.is_ended

    def end(self) -> None:
        """Take note that the caller has no more."""
        if self._policy is not None and not self._is_ended:
            # Said, not only half-closed: it can be said again.
            self._buffer.append(to_control_request(Control.END))
        self._is_ended = True

    def leave(self) -> pb.StreamingRecognizeRequest | None:
        """Return the one request of a call that ends the stream for good; None if none need.

        For a stream that is left before its end: the server would take that for a break.
        """
        token, self._token = self._token, ""
        if not token or self._view.is_complete:
            return None
        return pb.StreamingRecognizeRequest(resume=pb.Resume(token=token, discard=True))

    def begin_call(self) -> pb.StreamingRecognizeRequest:
        """Return the first request of the next call."""
        self._is_draining = False
        if self._token:
            self._cursor, self._is_resuming = None, True
            resume = pb.Resume(token=self._token, last_result=self._last_number)
            return pb.StreamingRecognizeRequest(resume=resume)
        self._n_calls += 1
        self._is_resuming = False
        if self._n_calls == 1:
            return self._sequence.open()
        self._base = self._buffer.start_replay()
        self._cursor = None
        self._last_number = 0
        self._view.start_replay(self._buffer)
        config = pb.StreamingConfig()
        config.CopyFrom(self._buffer.config)
        return to_config_request(config)

    def next_request(self) -> pb.StreamingRecognizeRequest | None:
        """Return what to send next; None while there is nothing."""
        if self._cursor is None or self._cursor == self._buffer.end:
            return None
        request = self._buffer.get(self._cursor)
        self._cursor += 1
        self._buffer.trim(self._cursor)
        return request

    def receive(self, response: pb.StreamingRecognizeResponse, *, now: float) -> list[Result]:
        """Return what the caller is to see of a response.

        now: seconds of any clock that does not jump. Raises SirenError when the server asks for
        audio that is not kept any more.
        """
        if self._policy is None:
            result = from_response(response)
            return [] if result is None else [result]
        self._last_number = response.number or self._last_number
        if response.WhichOneof("response") == "started":
            results = self._start(response, now)
        elif response.event.type == pb.SpeechEvent.TYPE_SERVER_DRAINING:
            self._is_draining = True
            results = []
        else:
            results = self._view.show(response, self._buffer)
            if results:
                self._n_attempts, self._outage_s = 0, 0.0
        return results

    def fail(
        self, error: SirenError, *, now: float, jitter: float, deadline: float | None = None
    ) -> Retry | GiveUp:
        """Say what to do about a call that failed.

        jitter: in [0, 1), random. deadline: when the caller's time is up, on the clock of `now`.
        """
        if self._policy is None:
            return GiveUp((), error)
        is_reconnecting = self._outage_since is not None
        is_refused = self._is_resuming and is_refused_resume(error)
        if not (is_refused or is_break(error, is_reconnecting=is_reconnecting)):
            # The server's own word, behind the last final too: of audio that ends too soon, say.
            return GiveUp(self._view.withheld, error)
        if self._view.is_complete:
            return GiveUp((), None)  # what was lost is only the word that all went well
        if is_stream_gone(error):
            self._token = ""
        if not self._token and not self._buffer.can_replay:
            return GiveUp(self._view.withheld, _too_long(error, self._policy))
        if self._outage_since is None:
            self._outage_since = now
        delay_s = 0.0
        if not is_refused:
            delay_s = self._policy.delay_s(
                self._n_attempts, jitter=jitter, at_least_s=error.retry_after_s
            )
            self._n_attempts += 1
            down_s = self._outage_s + now - self._outage_since
            is_hopeless = not self._has_started and self._n_attempts >= _FIRST_ATTEMPTS
            if is_hopeless or down_s + delay_s > self._policy.deadline_s:
                return GiveUp(self._view.withheld, error)
        if deadline is not None and now + delay_s >= deadline:
            # No call would be left any time, and gRPC gives one that has none the error of its
            # connection, which would be tried again.
            return GiveUp(self._view.withheld, _too_late(error), delay_s=max(0.0, deadline - now))
        return Retry(delay_s)

    def _start(self, response: pb.StreamingRecognizeResponse, now: float) -> list[Result]:
        started = response.started
        self._token = started.resume_token
        if self._is_resuming:
            self._cursor = self._base + started.received_requests
            if not self._buffer.first <= self._cursor <= self._buffer.end:
                raise SirenError(
                    grpc.StatusCode.OUT_OF_RANGE,
                    "the server asks for audio that is not kept any more; a larger "
                    "Reconnect.max_buffer_bytes keeps more",
                )
        elif self._cursor is None:
            self._cursor = self._base
        outage_s = 0.0
        if self._outage_since is not None:
            outage_s = now - self._outage_since
            self._outage_s += outage_s
            self._outage_since = None
        if self._has_started:
            return [Resumed(outage_s=outage_s, is_replay=not self._is_resuming)]
        self._has_started = True
        result = from_response(response)
        return [] if result is None else [result]


def _too_late(error: SirenError) -> SirenError:
    late = SirenError(
        grpc.StatusCode.DEADLINE_EXCEEDED,
        f"the time is up, and the connection was broken: {error.message}",
    )
    late.__cause__ = error
    return late


def _too_long(error: SirenError, policy: Reconnect) -> SirenError:
    return SirenError(
        error.status,
        "the connection broke, the server does not keep the stream any more, and the audio since "
        "the last final cannot be sent again: it is longer than Reconnect.max_buffer_bytes "
        f"({policy.max_buffer_bytes}); {error.message}",
        reason=error.reason,
    )

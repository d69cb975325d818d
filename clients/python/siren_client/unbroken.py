"""One stream over several calls: what to send in each, and what of it the caller sees. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from siren.v1 import speech_pb2 as pb

from siren_client.convert import from_response, to_config_request, to_control_request
from siren_client.endpointing import FinalCause
from siren_client.errors import SirenError
from siren_client.reconnect import Reconnect, is_break, is_refused_resume, is_stream_gone
from siren_client.replay import ReplayBuffer
from siren_client.requests import RequestSequence
from siren_client.text import keep_stable
from siren_client.types import (
    AudioItem,
    Control,
    Final,
    Partial,
    Result,
    Resumed,
    SpeechEvent,
    SpeechEventType,
)

_NS = 1_000_000_000
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
        self._view = _View()
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
        self._view.is_between = False

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

    def fail(self, error: SirenError, *, now: float, jitter: float) -> Retry | GiveUp:
        """Say what to do about a call that failed. jitter: in [0, 1), random."""
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
        if is_refused:
            return Retry(0.0)
        delay_s = self._policy.delay_s(
            self._n_attempts, jitter=jitter, at_least_s=error.retry_after_s
        )
        self._n_attempts += 1
        down_s = self._outage_s + now - self._outage_since
        is_hopeless = not self._has_started and self._n_attempts >= _FIRST_ATTEMPTS
        if is_hopeless or down_s + delay_s > self._policy.deadline_s:
            return GiveUp(self._view.withheld, error)
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


class _View:
    """What the caller has seen, so that a replay shows nothing twice and takes nothing back."""

    def __init__(self) -> None:
        self.withheld: tuple[Result, ...] = ()
        """A final that was cut short by a server that stops, and the event before it."""
        self._withheld_end_s = math.inf
        self.is_complete = False
        """The last final has come."""
        self.is_between = True
        """No text of an utterance was shown whose final was not."""
        self._offset_ns = 0
        self._held_end: SpeechEvent | None = None
        """The end of speech, until its final comes."""
        self._has_shown_start = False
        self._start_s = 0.0
        """Where speech started, if that was shown; a replay may say so again behind a partial."""
        self._last_end_s = 0.0
        self._seq = 0
        # Of the current utterance:
        self._stable = ""
        self._processed_s = 0.0
        # Of a replay:
        self._repeats_until_ns: int | None = None
        self._n_repeated_finalizes = 0
        self._n_repeated_updates = 0
        self._n_updates = 0
        self._is_behind = False
        """The replay has not come to what was shown of the current utterance, or heard it
        otherwise."""
        self._reset_s: float | None = None

    def start_replay(self, buffer: ReplayBuffer) -> None:
        """Expect a stream that begins at the buffer's point of replay."""
        self._offset_ns = buffer.start_ns
        self._repeats_until_ns = buffer.repeats_until_ns
        self._n_repeated_finalizes = buffer.n_answered_finalizes
        self._n_repeated_updates = max(0, self._n_updates - buffer.n_folded_updates)
        self._is_behind = True
        self._held_end = None
        reset_ns = buffer.reset_behind(round(self._processed_s * _NS))
        self._reset_s = None if reset_ns is None else reset_ns / _NS

    def show(self, response: pb.StreamingRecognizeResponse, buffer: ReplayBuffer) -> list[Result]:
        """Return what is new to the caller."""
        if self._offset_ns:
            _shift(response, self._offset_ns)
        if response.WhichOneof("response") == "updated":
            if self._n_repeated_updates:
                self._n_repeated_updates -= 1
                return []
            self._n_updates += 1
        result = from_response(response)
        if isinstance(result, Final):
            return self._show_final(result, response.final, buffer)
        if isinstance(result, Partial):
            result = self._show_partial(result)
        elif isinstance(result, SpeechEvent):
            result = self._show_event(result)
        return [] if result is None else [result]

    @property
    def _is_repeating(self) -> bool:
        return self._repeats_until_ns is not None or self._n_repeated_finalizes > 0

    def _show_event(self, event: SpeechEvent) -> SpeechEvent | None:
        if self._is_repeating:
            return None
        if event.type is SpeechEventType.SPEECH_ENDED:
            self._held_end = event
            return None
        if event.type is SpeechEventType.SPEECH_STARTED:
            is_old = self._is_behind or event.time_s <= self._start_s
            if self._has_shown_start and is_old:
                return None
            self._has_shown_start, self._start_s = True, event.time_s
        return event

    def _show_partial(self, partial: Partial) -> Partial | None:
        if self._is_repeating:
            return None
        if self._is_behind:
            self._forget_before_reset(partial.audio_processed_s)
            is_new = partial.audio_processed_s >= self._processed_s
            if not is_new or partial.stable_len < len(self._stable):
                return None
            # Promise 1 holds across calls: what was stable stays.
            self._is_behind = not partial.text.startswith(self._stable)
            text, stable_len = keep_stable(self._stable, partial.text, partial.stable_len)
            partial = replace(partial, text=text, stable_len=stable_len)
        partial = replace(partial, seq=max(partial.seq, self._seq))
        self._seq = partial.seq
        if self._withheld_end_s < partial.audio_processed_s:
            self._drop_withheld()
        self._stable, self._processed_s = partial.stable, partial.audio_processed_s
        self.is_between = self.is_between and not partial.text
        return partial

    def _show_final(
        self, final: Final, message: pb.FinalResult, buffer: ReplayBuffer
    ) -> list[Result]:
        end_ns = to_ns(message.end_time)
        is_finalize = final.cause is FinalCause.FINALIZE
        if self._is_repeat(end_ns, is_finalize=is_finalize):
            return []
        if self._is_behind:
            self._forget_before_reset(final.end_s)
            text, _ = keep_stable(self._stable, final.text, len(final.text))
            final = replace(final, text=text)
        # A replay may begin before the last final's end, and with no message heard whole.
        start_s, seq = max(final.start_s, self._last_end_s), max(final.seq, self._seq)
        final = replace(final, start_s=start_s, seq=seq)
        results = (final,) if self._held_end is None else (self._held_end, final)
        self._held_end = None
        if final.cause is FinalCause.SHUTDOWN:
            # The server cut the utterance short: another may hear all of it.
            self.withheld, self._withheld_end_s = results, final.end_s
            return []
        self._drop_withheld()
        resume_ns = to_ns(message.resume_time) if message.HasField("resume_time") else end_ns
        buffer.note_final(
            start_ns=to_ns(message.start_time),
            end_ns=end_ns,
            resume_ns=resume_ns,
            is_finalize=is_finalize,
        )
        self._seq, self._last_end_s = final.seq, final.end_s
        self._stable, self._processed_s = "", final.end_s
        self._has_shown_start = self._is_behind = False
        self.is_between = True
        is_single = buffer.config.endpointing.single_utterance
        self.is_complete = final.cause is FinalCause.END or is_single
        return list(results)

    def _drop_withheld(self) -> None:
        self.withheld, self._withheld_end_s = (), math.inf

    def _is_repeat(self, end_ns: int, *, is_finalize: bool) -> bool:
        if is_finalize and self._n_repeated_finalizes:
            self._n_repeated_finalizes -= 1
        elif is_finalize or self._repeats_until_ns is None or end_ns > self._repeats_until_ns:
            self._repeats_until_ns = None
            return False
        if end_ns == self._repeats_until_ns and not self._n_repeated_finalizes:
            self._repeats_until_ns = None
        return True

    def _forget_before_reset(self, time_s: float) -> None:
        """Expect nothing of what was shown once ACTION_RESET has thrown it away."""
        if self._reset_s is not None and time_s > self._reset_s:
            # Speech that started there, or later, did so behind it.
            is_behind = self._has_shown_start and self._start_s >= self._reset_s
            self._stable, self._has_shown_start, self._reset_s = "", is_behind, None


def to_ns(duration: Duration) -> int:
    """Read a time exactly."""
    return duration.seconds * _NS + duration.nanos


def _shift(message: Message, offset_ns: int) -> None:
    """Move every time in the stream that a message holds; `delay`, `grace_left` are none."""
    for field, value in message.ListFields():
        if field.name in ("delay", "grace_left"):
            continue
        if isinstance(value, Duration):
            value.FromNanoseconds(to_ns(value) + offset_ns)
        elif isinstance(value, Message):
            _shift(value, offset_ns)
        elif field.message_type is not None:
            for part in value:
                _shift(part, offset_ns)


def _too_long(error: SirenError, policy: Reconnect) -> SirenError:
    return SirenError(
        error.status,
        "the connection broke, the server does not keep the stream any more, and the audio since "
        "the last final cannot be sent again: it is longer than Reconnect.max_buffer_bytes "
        f"({policy.max_buffer_bytes}); {error.message}",
        reason=error.reason,
    )

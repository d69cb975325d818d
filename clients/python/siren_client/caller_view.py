"""What the caller of a stream sees, over all of its calls. Pure."""

from __future__ import annotations

import math
from dataclasses import replace

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from siren.v1 import speech_pb2 as pb

from siren_client.convert import from_response
from siren_client.endpointing import FinalCause
from siren_client.replay import ReplayBuffer
from siren_client.text import keep_stable
from siren_client.types import Final, Partial, Result, SpeechEvent, SpeechEventType

_NS = 1_000_000_000
_IN_SILENCE = frozenset({FinalCause.SILENCE, FinalCause.NO_SPEECH, FinalCause.END_TOKEN})
"""Causes of finals behind which a hard endpoint starts the recogniser afresh."""


class CallerView:
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
        self._seq = self._final_seq = 0
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

    def start_replay(self, buffer: ReplayBuffer) -> None:
        """Expect a stream that begins at the buffer's point of replay."""
        self._offset_ns = buffer.start_ns
        self._repeats_until_ns = buffer.repeats_until_ns
        self._n_repeated_finalizes = buffer.n_answered_finalizes
        self._n_repeated_updates = max(0, self._n_updates - buffer.n_folded_updates)
        self._is_behind = True
        self._held_end = None

    def expect_utterance(self) -> None:
        """Take the next utterance for begun, though none of its text was shown."""
        self.is_between = False

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
            result = self._show_partial(result, buffer)
        elif isinstance(result, SpeechEvent):
            result = self._show_event(result, buffer)
        return [] if result is None else [result]

    @property
    def _is_repeating(self) -> bool:
        return self._repeats_until_ns is not None or self._n_repeated_finalizes > 0

    def _show_event(self, event: SpeechEvent, buffer: ReplayBuffer) -> SpeechEvent | None:
        if self._is_repeating:
            return None
        if event.type is SpeechEventType.SPEECH_ENDED:
            self._held_end = event
            return None
        if event.type is SpeechEventType.SPEECH_STARTED:
            if self._has_shown_start and self._is_known_start(event.time_s, buffer):
                return None
            self._has_shown_start, self._start_s = True, event.time_s
        return event

    def _is_known_start(self, time_s: float, buffer: ReplayBuffer) -> bool:
        """Whether speech that starts at a time is what was shown to have started."""
        if time_s <= self._start_s:
            return True
        if not self._is_behind:
            return False
        # No partial need have told that the replay is past an ACTION_RESET.
        reset_ns = buffer.reset_behind(_ns(self._start_s) + 1) if buffer.can_cut else None
        return reset_ns is None or _ns(time_s) < reset_ns

    def _show_partial(self, partial: Partial, buffer: ReplayBuffer) -> Partial | None:
        if self._is_repeating:
            return None
        if self._is_behind:
            at_ns = _ns(partial.audio_processed_s) - 1
            self._forget_before_reset(at_ns, partial.seq - 1, buffer)
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
        end_ns = _to_ns(message.end_time)
        is_finalize = final.cause is FinalCause.FINALIZE
        if self._is_repeat(end_ns, is_finalize=is_finalize):
            return []
        if self._is_behind:
            # One of no audio ends where the reset is, and is behind it all the same.
            at_ns = max(_to_ns(message.start_time), end_ns - 1)
            self._forget_before_reset(at_ns, final.seq, buffer)
            text, _ = keep_stable(self._stable, final.text, len(final.text))
            final = replace(final, text=text)
        # A replay may begin before the last final's end, and with no message heard whole. A partial
        # before it says nothing: it may have been read from behind its end.
        start_s, seq = max(final.start_s, self._last_end_s), final.seq or self._final_seq
        final = replace(final, start_s=start_s, seq=seq)
        results = (final,) if self._held_end is None else (self._held_end, final)
        self._held_end = None
        if final.cause is FinalCause.SHUTDOWN:
            # The server cut the utterance short: another may hear all of it.
            self.withheld, self._withheld_end_s = results, final.end_s
            return []
        self._drop_withheld()
        resume_ns = _to_ns(message.resume_time) if message.HasField("resume_time") else end_ns
        is_hard = buffer.config.endpointing.state == pb.EndpointingConfig.STATE_HARD
        buffer.note_final(
            start_ns=_to_ns(message.start_time),
            end_ns=end_ns,
            resume_ns=resume_ns,
            is_finalize=is_finalize,
            is_fresh_behind=is_hard and final.cause in _IN_SILENCE,
        )
        self._seq = self._final_seq = final.seq
        self._last_end_s = final.end_s
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

    def _forget_before_reset(self, time_ns: int, seq: int, buffer: ReplayBuffer) -> None:
        """Expect nothing of what was shown where an ACTION_RESET threw it away.

        That is, before a time of the stream; where times tell nothing of the audio that was sent,
        by a message. The caller may have asked for it only since the replay began.
        """
        is_start_kept = False
        if buffer.can_cut:
            reset_ns = buffer.reset_behind(_ns(self._processed_s))
            if reset_ns is None or time_ns < reset_ns:
                return
            # Speech that started there, or later, did so behind it.
            is_start_kept = _ns(self._start_s) >= reset_ns
        else:
            reset_seq = buffer.reset_behind_seq(self._seq)
            if reset_seq is None or seq < reset_seq:
                return
        self._has_shown_start = self._has_shown_start and is_start_kept
        self._stable = ""


def _ns(seconds: float) -> int:
    return round(seconds * _NS)


def _to_ns(duration: Duration) -> int:
    """Read a time exactly."""
    return duration.seconds * _NS + duration.nanos


def _shift(message: Message, offset_ns: int) -> None:
    """Move every time in the stream that a message holds; `delay`, `grace_left` are none."""
    for field, value in message.ListFields():
        if field.name in ("delay", "grace_left"):
            continue
        if isinstance(value, Duration):
            value.FromNanoseconds(_to_ns(value) + offset_ns)
        elif isinstance(value, Message):
            _shift(value, offset_ns)
        elif field.message_type is not None:
            for part in value:
                _shift(part, offset_ns)

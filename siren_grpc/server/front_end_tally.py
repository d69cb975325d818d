"""What a front end counts, of its calls and its streams."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeAlias

import grpc

from siren_grpc.domain.errors import Overloaded, Reason, RefusalCause, ShuttingDown, SirenError
from siren_grpc.domain.results import Final, OfChannel, Partial, Reconfigured, SpeechEvent
from siren_grpc.engine.separate import SeparateSession
from siren_grpc.engine.session import EngineSession
from siren_grpc.observe import metrics
from siren_grpc.observe.instruments import Histogram, Number, Snapshot, Tally
from siren_grpc.observe.log_context import enter_call
from siren_grpc.observe.tracing import CallSpan, Tracing
from siren_grpc.server.call_id import CallId

if TYPE_CHECKING:
    from siren_grpc.server.stream import Stream

_Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"  # generic for mypy only
_SERVICE = "siren.v1.SpeechService"
_log = logging.getLogger(__name__)
_OK, _CANCELLED = "OK", "CANCELLED"
_METHODS = ("StreamingRecognize", "Recognize", "ListModels")
_AUTH_FAILED = Reason.AUTH_FAILED.value
_FAULTS = (Reason.INTERNAL_ERROR.value, Reason.MODEL_ERROR.value)
_Told: TypeAlias = Partial | Final | SpeechEvent | Reconfigured | OfChannel


@dataclass(frozen=True, slots=True)
class _OfModel:
    """A model's instruments, looked up once a stream."""

    audio: Number
    partials: Number
    words: Number
    partial_latency: Histogram
    final_latency: Histogram
    session_audio: Histogram


class FrontEndTally:
    """Counts for one front end. Belongs to its event loop."""

    def __init__(self, process: str, tracing: Tracing | None = None) -> None:
        """Start at zero. process: its name in the metrics. tracing: makes a span for each call."""
        self._process = process
        self.tally = Tally()
        self.loop_lag = self.tally.histogram(metrics.LOOP_LAG, process)
        self.tracing = tracing
        self.n_calls = 0
        """Begun so far."""
        # Known to be 0: what appears only with its first event has not risen, to an alert.
        for cause in RefusalCause:
            self.tally.number(metrics.ADMISSIONS_REFUSED, cause.value)
        for outcome in (_OK, _AUTH_FAILED, *_FAULTS):
            for method in _METHODS:
                self.tally.number(metrics.CALLS, method, outcome)

    def begin_call(self, method: str, context: _Context, call_id: CallId) -> CallRecord:
        """Take note of a call, until it is over."""
        self.n_calls += 1
        span = None
        if self.tracing is not None:
            try:
                metadata = context.invocation_metadata() or ()
                span = self.tracing.start_call(f"{_SERVICE}/{method}", metadata)
            except Exception:  # no defect of an exporter's ends a call
                _log.debug("a call could not be traced", exc_info=True)
        record = CallRecord(self.tally, method, context.peer(), call_id, span)
        context.add_done_callback(lambda _: record.end())  # type: ignore[arg-type]  # as documented
        return record

    def refuse_call(self, path: str) -> None:
        """Count a call that was refused before its handler: nobody good made it.

        path: what its client wrote, which may be anything; only methods there are become labels.
        """
        service, _, method = path.removeprefix("/").partition("/")
        if service == _SERVICE and method in _METHODS:
            self.n_calls += 1
            self.tally.number(metrics.CALLS, method, _AUTH_FAILED).value += 1

    def begin_stream(self, model: str, *, is_live: bool) -> StreamRecord:
        """Take note of a stream, or a recording, that has its session."""
        record = StreamRecord(self.tally, model, is_live=is_live)
        self.tally.number(metrics.SESSIONS_OPENED, model, record.kind).value += 1
        return record

    def read(self, streams: Iterable[Stream], *, n_parked: int) -> Snapshot:
        """Return what was counted, and how much waits now. streams: those there are.

        Audio is counted here and at each stream's end, not by message.
        """
        backlog_s, oldest = dict.fromkeys(metrics.KINDS, 0.0), None
        for stream in streams:
            parts = stream.parts
            hertz = parts.session.info.features.sample_rate_hertz
            parts.record.count_audio(parts.ingress.received_samples, hertz)
            for session in sessions_of(parts.session):
                backlog_s[parts.record.kind] += session.backlog_samples / hertz
                at = session.oldest_chunk_at
                if at is None or not parts.record.is_live:
                    continue
                oldest = at if oldest is None else min(oldest, at)
        age = 0.0 if oldest is None else monotonic() - oldest
        for kind, waiting_s in backlog_s.items():
            self.tally.number(metrics.BACKLOG, kind).value = waiting_s
        self.tally.number(metrics.OLDEST_CHUNK, self._process).value = age
        self.tally.number(metrics.STREAMS_PARKED).value = float(n_parked)
        return self.tally.read()


class CallRecord:
    """One call of the service."""

    def __init__(
        self, tally: Tally, method: str, peer: str, call_id: CallId, span: CallSpan | None
    ) -> None:
        """Made by `FrontEndTally.begin_call`."""
        self._tally = tally
        self._method = method
        self._outcome = _CANCELLED
        self._stream: Stream | None = None
        self.span = span
        self.peer = peer
        self._log = enter_call(call_id)
        if span is not None:
            self._log.trace_id = span.trace_id

    @property
    def traceparent(self) -> str:
        """Names the call's span; empty without one."""
        return "" if self.span is None else self.span.traceparent

    def bind(self, stream: Stream) -> None:
        """Note which stream the call runs."""
        self._stream = stream
        parts = stream.parts
        parts.record.bind(self)
        self._log.names = parts.id
        self._log.engine_session = sessions_of(parts.session)[0].id
        if self.span is not None:
            lane = parts.config.lane
            self.span.describe(
                {
                    "siren.session_id": parts.id.session,
                    "siren.request_id": parts.id.request,
                    "siren.model": parts.session.info.id,
                    "siren.chunk_frames": lane.chunk_frames,
                    "siren.decoder": lane.decoder.value,
                }
            )

    def succeed(self) -> None:
        """Note that the call ends with OK."""
        self._outcome = _OK

    def fail(self, error: SirenError | None) -> None:
        """Note what the call ends with; None for what was not expected."""
        self._outcome = "INTERNAL_ERROR" if error is None else error.reason.value
        if self._stream is None and isinstance(error, (Overloaded, ShuttingDown)):
            cause = error.cause if isinstance(error, Overloaded) else RefusalCause.DRAINING
            self._tally.number(metrics.ADMISSIONS_REFUSED, cause.value).value += 1

    def end(self) -> None:
        """Count the call: it is over, one way or another."""
        self._tally.number(metrics.CALLS, self._method, self._outcome).value += 1
        if self.span is None:
            return
        if self._stream is not None:
            parts = self._stream.parts
            hertz = parts.session.info.features.sample_rate_hertz
            timing = parts.session.timing
            self.span.describe(
                {
                    "siren.audio_s": parts.ingress.received_samples / hertz,
                    "siren.steps": timing.steps,
                    "siren.queue_s": timing.queue_s,
                    "siren.step_s": timing.step_s,
                }
            )
        self.span.end(self._outcome, is_error=self._outcome not in (_OK, _CANCELLED))


class StreamRecord:
    """One stream: its call or, one after the other, its calls."""

    def __init__(self, tally: Tally, model: str, *, is_live: bool) -> None:
        """Made by `FrontEndTally.begin_stream`."""
        self.is_live = is_live
        self.kind = metrics.kind_of(is_live=is_live)
        """As labels call it."""
        self._tally = tally
        self._model = model
        self._of_model = _OfModel(
            tally.number(metrics.AUDIO_RECEIVED, model),
            tally.number(metrics.PARTIALS, model),
            tally.number(metrics.WORDS, model),
            tally.histogram(metrics.PARTIAL_LATENCY, model),
            tally.histogram(metrics.FINAL_LATENCY, model, self.kind),
            tally.histogram(metrics.SESSION_AUDIO, model),
        )
        self._span: CallSpan | None = None
        self._counted_samples = 0
        self._has_ended = False
        self.started_at = time.time()
        self.peer = ""

    def bind(self, call: CallRecord) -> None:
        """Note which call the stream has now."""
        self._span, self.peer = call.span, call.peer

    def note(self, result: _Told, session: EngineSession | SeparateSession, now: float) -> None:
        """Count a result that is being handed to gRPC. now: by `time.monotonic`.

        A recording's partials go nowhere, and do not count.
        """
        if isinstance(result, OfChannel):
            session = sessions_of(session)[result.channel]
            result = result.result
        if isinstance(result, Partial):
            if not self.is_live:
                return
            self._of_model.partials.value += 1
            if isinstance(session, EngineSession):
                self._of_model.partial_latency.observe(now - session.partial_heard_at)
        elif isinstance(result, Final):
            self._note_final(result, session, now)

    def _note_final(
        self, final: Final, session: EngineSession | SeparateSession, now: float
    ) -> None:
        n_words = len(final.text.split())
        self._tally.number(metrics.FINALS, self._model, final.cause.value).value += 1
        self._of_model.words.value += n_words
        if final.heard_at is not None:
            self._of_model.final_latency.observe(now - final.heard_at)
        if self._span is not None:
            hertz = session.info.features.sample_rate_hertz
            self._span.add_event(
                "siren.final",
                {
                    "siren.start_s": final.start_samples / hertz,
                    "siren.end_s": final.end_samples / hertz,
                    "siren.cause": final.cause.value,
                    "siren.words": n_words,
                },
            )

    def count_audio(self, received_samples: int, hertz: int) -> None:
        """Count the audio received since this was last called."""
        self._of_model.audio.value += (received_samples - self._counted_samples) / hertz
        self._counted_samples = received_samples

    def end(self, outcome: str | None, received_samples: int, hertz: int) -> None:
        """Count the stream as ended, once. outcome: None when its client left."""
        if self._has_ended:
            return
        self._has_ended = True
        self.count_audio(received_samples, hertz)
        self._of_model.session_audio.observe(received_samples / hertz)
        ended = self._tally.number(metrics.SESSIONS_ENDED, self._model, outcome or _CANCELLED)
        ended.value += 1


def sessions_of(session: EngineSession | SeparateSession) -> tuple[EngineSession, ...]:
    """Return a stream's sessions: its only one, or one a channel."""
    return session.sessions if isinstance(session, SeparateSession) else (session,)

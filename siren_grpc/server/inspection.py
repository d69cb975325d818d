"""Answers what the engine's process asks a front end: its counts, and its sessions."""

from __future__ import annotations

from collections.abc import Iterator
from time import monotonic

from siren_grpc.domain.errors import ShuttingDown
from siren_grpc.engine.engine import Engine
from siren_grpc.server.census import census_of
from siren_grpc.server.free_memory import give_back
from siren_grpc.server.front_end_tally import FrontEndTally, sessions_of
from siren_grpc.server.inspection_messages import (
    Answer,
    Ask,
    EndSession,
    ListSessions,
    Ping,
    Pulse,
    Report,
    SessionRow,
    TakeCensus,
)
from siren_grpc.server.load_reports import LoadReports
from siren_grpc.server.service import SpeechService
from siren_grpc.server.stream import Stream

_RETRY_S = 0.1


class Inspector:
    """What a front end says of itself. Belongs to its event loop."""

    def __init__(
        self, engine: Engine, service: SpeechService, tally: FrontEndTally, loads: LoadReports
    ) -> None:
        """Look at a service and its engine. loads: is told the server's load."""
        self._engine = engine
        self._service = service
        self._tally = tally
        self._loads = loads

    def answer(self, ask: Ask) -> Answer:
        """Answer a question."""
        question = ask.question
        if isinstance(question, Pulse):
            self._loads.update(question.load)
            return Answer(ask.number, self.report())
        if isinstance(question, TakeCensus):
            census = census_of({**self._engine.counts, **self._service.counts})
            give_back()  # whoever asks looks at the process's memory, too
            return Answer(ask.number, census)
        if isinstance(question, ListSessions):
            return Answer(ask.number, tuple(self._rows()))
        if isinstance(question, Ping):
            return Answer(ask.number, None)
        return Answer(ask.number, self._end(question))

    def report(self) -> Report:
        """Return what was counted so far."""
        streams = [stream for stream, _ in self._service.streams()]
        numbers = self._tally.read(streams, n_parked=self._service.n_parked)
        return Report(numbers, self._tally.n_calls)

    def _rows(self) -> Iterator[SessionRow]:
        now = monotonic()
        for stream, is_parked in self._service.streams():
            yield _row(stream, now, is_parked=is_parked)

    def _end(self, question: EndSession) -> bool:
        for stream, is_parked in self._service.streams():
            if stream.parts.id.session == question.session_id:
                if is_parked:
                    stream.abandon()
                else:
                    stream.interrupt(
                        ShuttingDown(
                            "the operator ended this stream; open a new one", retry_after_s=_RETRY_S
                        )
                    )
                return True
        return False


def _row(stream: Stream, now: float, *, is_parked: bool) -> SessionRow:
    parts = stream.parts
    hertz = parts.session.info.features.sample_rate_hertz
    sessions = sessions_of(parts.session)
    waiting = [now - at for session in sessions if (at := session.oldest_chunk_at) is not None]
    return SessionRow(
        session_id=parts.id.session,
        request_id=parts.id.request,
        model=parts.session.info.id,
        chunk_frames=parts.config.lane.chunk_frames,
        decoder=parts.config.lane.decoder.value,
        is_live=parts.record.is_live,
        is_parked=is_parked,
        started_at=parts.record.started_at,
        received_s=parts.ingress.received_samples / hertz,
        processed_s=min(session.processed_samples for session in sessions) / hertz,
        waiting_s=max(waiting, default=0.0),
        peer=parts.record.peer,
        principal=parts.id.principal_name,
    )

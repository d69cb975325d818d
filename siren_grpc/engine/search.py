"""Other readings of utterances: searched for beside the steps, one after the other."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from siren_grpc.domain.model import DecoderKind
from siren_grpc.domain.ports import Readings
from siren_grpc.domain.readings import FrameSpan, Reading
from siren_grpc.engine.side_worker import SideWorker
from siren_grpc.scheduling.plan import SessionId

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SearchEnded:
    """A worker has searched for a session, or failed to."""

    session_id: SessionId
    readings: tuple[Reading, ...]


class Searches:
    """The searches of a device's models. Belongs to the stepper's thread.

    A session has one search under way at most, so what waits here is bounded by the sessions.
    """

    def __init__(self, worker: SideWorker, post: Callable[[SearchEnded], None]) -> None:
        """worker: searches. post: brings what was found to the stepper's thread."""
        self._worker = worker
        self._post = post

    def begin(
        self,
        session_id: SessionId,
        readings: Readings,
        decoder: DecoderKind,
        slot: int,
        span: FrameSpan,
        most: int,
    ) -> None:
        """Search for `most` other readings of what a slot heard; always answered by `post`."""
        try:
            frames = readings.take(slot, span)
        except Exception:  # no memory, for one: the stepper goes on
            _log.exception("session %d: no frames for alternatives", session_id)
            frames = None
        if frames is None:
            self._post(SearchEnded(session_id, ()))
            return

        def search() -> None:
            found: tuple[Reading, ...] = ()
            try:
                found = tuple(readings.search(decoder, frames, most))
            except Exception:
                # The final has its text; that there is no other is not worth a stream.
                _log.exception("session %d: the search for alternatives failed", session_id)
            self._post(SearchEnded(session_id, found))

        self._worker.submit(search)

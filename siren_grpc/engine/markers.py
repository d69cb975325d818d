"""What markers do to slots, once all audio before them has been recognised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from siren_grpc.domain.ports import OutOfMemory
from siren_grpc.domain.work import (
    DiscardUtterance,
    EndStream,
    EndUtterance,
    Marker,
    RestartState,
    UsePhrases,
)
from siren_grpc.engine.batch import error_of
from siren_grpc.engine.messages import Delivery
from siren_grpc.engine.session_table import SessionTable
from siren_grpc.scheduling.plan import SessionId


def carry_out(
    markers: Sequence[tuple[SessionId, Marker]], sessions: SessionTable
) -> tuple[list[Delivery], Mapping[SessionId, OutOfMemory]]:
    """Carry out a plan's markers; return what to deliver, and whose slots found no memory.

    Those sessions end with that, and nothing of theirs may follow: the state of their slots is
    neither the old one nor a fresh one, until they are opened for another session.
    """
    deliveries: list[Delivery] = []
    without_memory: dict[SessionId, OutOfMemory] = {}
    for session_id, marker in markers:
        if session_id in without_memory:
            continue
        # Also if it fails: what came before it was recognised, and an utterance has its final.
        deliveries.append(Delivery(session_id, marker))
        try:
            _carry_out(session_id, marker, sessions)
        except OutOfMemory as error:
            without_memory[session_id] = error
            deliveries.append(Delivery(session_id, EndStream(error_of(error))))
    return deliveries, without_memory


def _carry_out(session_id: SessionId, marker: Marker, sessions: SessionTable) -> None:
    if isinstance(marker, (EndUtterance, DiscardUtterance, RestartState)):
        session = sessions[session_id]
        session.model.backend.reset_slot(session.slot)
    elif isinstance(marker, UsePhrases):
        sessions[session_id].model.phrase_store.use(session_id, marker.phrases)

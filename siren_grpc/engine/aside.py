"""What is worked out beside the steps: trees of phrases, and other readings of utterances."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from siren_grpc.domain.ports import ModelBackend
from siren_grpc.engine.heartbeat import Heartbeat
from siren_grpc.engine.messages import Delivery, Found, Prepare, Prepared, Search
from siren_grpc.engine.phrases import PhraseStore, TreeBuilt
from siren_grpc.engine.search import SearchEnded, Searches
from siren_grpc.engine.session_table import SessionTable
from siren_grpc.engine.side_worker import SideWorker

AsideMessage: TypeAlias = Prepare | TreeBuilt | Search | SearchEnded


class Aside:
    """Takes sessions' wishes to threads of its own. Belongs to the stepper's thread.

    Phrases have one thread and searches another: neither waits for the other's longest.
    """

    def __init__(
        self,
        sessions: SessionTable,
        *,
        deliver: Callable[[Sequence[Delivery]], None],
        post: Callable[[TreeBuilt | SearchEnded], None],
        heartbeat: Heartbeat,
    ) -> None:
        """deliver: as for the stepper. post: brings what a thread has done to the stepper's."""
        self._sessions = sessions
        self._deliver = deliver
        self._post = post
        self._phrase_worker = SideWorker("phrases", heartbeat)
        self._search_worker = SideWorker("search", heartbeat)
        self._searches = Searches(self._search_worker, post)

    def phrase_store(self, backend: ModelBackend) -> PhraseStore | None:
        """Return where a model's phrases are to be kept, None if it takes none."""
        trees = backend.phrase_trees
        return None if trees is None else PhraseStore(trees, self._phrase_worker, self._post)

    def receive(self, message: AsideMessage) -> None:
        """Begin what a session wishes, or give it what a thread has done for it."""
        if isinstance(message, Prepare):
            self._prepare(message)
        elif isinstance(message, TreeBuilt):
            message.store.receive(message)
        elif isinstance(message, Search):
            self._search(message)
        else:
            self._deliver([Delivery(message.session_id, Found(message.readings))])

    def stop(self) -> None:
        """Begin nothing more."""
        self._phrase_worker.stop()
        self._search_worker.stop()

    def _prepare(self, message: Prepare) -> None:
        session_id = message.session_id
        session = self._sessions.get(session_id)
        if session is not None:
            session.model.phrase_store.prepare(
                session_id,
                session.slot,
                message.phrases,
                lambda error: self._deliver([Delivery(session_id, Prepared(error))]),
            )

    def _search(self, message: Search) -> None:
        session = self._sessions.get(message.session_id)
        if session is None:
            return
        readings = session.model.backend.readings
        if readings is None:
            self._deliver([Delivery(message.session_id, Found(()))])
            return
        self._searches.begin(
            message.session_id,
            readings,
            session.decoder,
            session.slot,
            message.span,
            session.alternatives,
        )

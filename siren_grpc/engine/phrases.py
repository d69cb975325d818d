"""The phrases of sessions: each list is made into a tree once, beside the steps, and shared."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from siren_grpc.domain.errors import InternalError, Overloaded, SirenError
from siren_grpc.domain.phrases import Phrases
from siren_grpc.domain.ports import PhraseTree, PhraseTrees
from siren_grpc.engine.side_worker import SideWorker
from siren_grpc.scheduling.plan import SessionId

_log = logging.getLogger(__name__)
_RETRY_AFTER_S = 5.0
_MAX_IDLE = 64
"""Trees kept although no session uses them: the next one with the same phrases need not wait."""

OnReady: TypeAlias = Callable[[SirenError | None], None]
"""Called when a session's phrases can be used, or with why they cannot."""


@dataclass(frozen=True, slots=True)
class TreeBuilt:
    """A worker has made a tree of phrases, or found out why there is none."""

    store: PhraseStore
    phrases: Phrases
    outcome: PhraseTree | Exception


@dataclass(slots=True)
class _Entry:
    n_uses: int = 0
    tree_id: int | None = None
    waiting: list[tuple[SessionId, OnReady]] = field(default_factory=list)


@dataclass(slots=True)
class _Session:
    slot: int
    current: Phrases = ()
    prepared: list[Phrases] = field(default_factory=list)
    """What it may use next."""


class PhraseStore:
    """The trees of one model, by content. Belongs to the stepper's thread.

    A tree stays while a session uses it or may use it next; of the others the last few stay.
    """

    def __init__(
        self,
        trees: PhraseTrees,
        worker: SideWorker,
        post: Callable[[TreeBuilt], None],
    ) -> None:
        """Start empty.

        worker: makes trees, for that takes longer than a step. post: brings what was
        made to `receive`, in the stepper's thread.
        """
        self._trees = trees
        self._worker = worker
        self._post = post
        self._entries: dict[Phrases, _Entry] = {}
        self._idle: OrderedDict[Phrases, None] = OrderedDict()
        """Loaded and used by nobody, the longest so first."""
        self._sessions: dict[SessionId, _Session] = {}

    def prepare(
        self, session_id: SessionId, slot: int, phrases: Phrases, on_ready: OnReady
    ) -> None:
        """Get phrases ready for a session; on_ready is not called if it is closed before.

        Behind a success the session may `use` them once.
        """
        session = self._sessions.setdefault(session_id, _Session(slot))
        session.prepared.append(phrases)
        entry = self._entries.get(phrases)
        if entry is None:
            entry = self._entries[phrases] = _Entry()
            self._worker.submit(lambda: self._build(phrases))
        entry.n_uses += 1
        self._idle.pop(phrases, None)
        if entry.tree_id is None:
            entry.waiting.append((session_id, on_ready))
        else:
            on_ready(None)

    def use(self, session_id: SessionId, phrases: Phrases) -> None:
        """Let a session's slot use phrases that were prepared for it, or none from now on."""
        session = self._sessions.get(session_id)
        if session is None:
            if phrases:
                raise AssertionError("phrases used that were not prepared")
            return
        before, session.current = session.current, phrases
        if phrases:
            session.prepared.remove(phrases)
            self._trees.use(session.slot, self._entries[phrases].tree_id)
        else:
            self._trees.use(session.slot, None)
        if before:
            self._release(before)

    def close(self, session_id: SessionId) -> None:
        """Let go of all that a session uses or may use; harmless for one without phrases."""
        session = self._sessions.pop(session_id, None)
        if session is None:
            return
        self._trees.use(session.slot, None)
        for phrases in filter(None, (session.current, *session.prepared)):
            self._release(phrases)

    def receive(self, built: TreeBuilt) -> None:
        """Take in what a worker has made, and tell those who wait."""
        entry = self._entries[built.phrases]
        error = self._load(entry, built.outcome)
        waiting, entry.waiting = entry.waiting, []
        if error is not None:
            del self._entries[built.phrases]
        elif entry.n_uses == 0:
            self._set_idle(built.phrases)
        for session_id, on_ready in waiting:
            session = self._sessions.get(session_id)
            if session is None:
                continue
            if error is not None:
                session.prepared.remove(built.phrases)
            on_ready(error)

    def _build(self, phrases: Phrases) -> None:
        try:
            outcome: PhraseTree | Exception = self._trees.build(phrases)
        except Exception as error:
            outcome = error
        self._post(TreeBuilt(self, phrases, outcome))

    def _load(self, entry: _Entry, outcome: PhraseTree | Exception) -> SirenError | None:
        """Put a tree on the device, in the place of idle ones if need be."""
        if isinstance(outcome, SirenError):
            return outcome
        if isinstance(outcome, Exception):
            _log.error("phrases: no tree could be made", exc_info=outcome)
            return InternalError("the phrases could not be taken; the cause is in the server's log")
        while (tree_id := self._trees.load(outcome)) is None:
            if not self._idle:
                return Overloaded(
                    "the memory for phrases is taken by other streams; try again shortly, with "
                    "fewer phrases, or on another replica",
                    retry_after_s=_RETRY_AFTER_S,
                )
            self._drop_oldest()
        entry.tree_id = tree_id
        return None

    def _release(self, phrases: Phrases) -> None:
        entry = self._entries.get(phrases)
        if entry is None:  # it could not be made
            return
        entry.n_uses -= 1
        if entry.n_uses == 0 and entry.tree_id is not None:
            self._set_idle(phrases)

    def _set_idle(self, phrases: Phrases) -> None:
        self._idle[phrases] = None
        if len(self._idle) > _MAX_IDLE:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        phrases, _ = self._idle.popitem(last=False)
        tree_id = self._entries.pop(phrases).tree_id
        if tree_id is None:
            raise AssertionError("a tree that is not loaded is not idle")
        self._trees.unload(tree_id)

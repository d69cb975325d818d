"""Sessions of one model for asyncio callers: open, submit, take, close."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence

from siren_grpc.domain.errors import InternalError, Overloaded
from siren_grpc.domain.ports import ModelBackend
from siren_grpc.domain.types import Lane, ModelInfo, StreamEnded
from siren_grpc.engine.session import EngineLimits, EngineSession
from siren_grpc.engine.stepper import Delivery, Stepper
from siren_grpc.scheduling.scheduler import SessionId

_RETRY_AFTER_S = 1.0
_DEAD = "the recogniser stopped unexpectedly; the cause is in the server's log"
_session_ids = itertools.count(1)


class Engine:
    """One model with its stepper. Belongs to the event loop that made it."""

    def __init__(self, backend: ModelBackend, limits: EngineLimits) -> None:
        """Prepare; `start` starts the stepper."""
        self._backend = backend
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._sessions: dict[SessionId, EngineSession] = {}
        self._taken_slots: set[SessionId] = set()
        self._is_dead = asyncio.Event()
        self._stepper = Stepper(
            backend, deliver=self._deliver_from_thread, on_death=self._die_from_thread
        )

    @property
    def info(self) -> ModelInfo:
        """What the model is and offers."""
        return self._backend.info

    @property
    def n_sessions(self) -> int:
        """Sessions open now."""
        return len(self._sessions)

    @property
    def is_alive(self) -> bool:
        """Whether sessions can be served."""
        return not self._is_dead.is_set()

    async def wait_dead(self) -> None:
        """Return when the stepper has died: the process should be replaced."""
        await self._is_dead.wait()

    def start(self) -> None:
        """Start the stepper."""
        self._stepper.start()

    def stop(self, *, timeout_s: float) -> None:
        """Stop the stepper after the step under way."""
        self._stepper.stop(timeout_s=timeout_s)

    def open(self, lane: Lane) -> EngineSession:
        """Open a session.

        Raises Overloaded when every slot of the model is taken, InternalError when its stepper
        has died.
        """
        if not self.is_alive:
            raise InternalError(_DEAD)
        # A slot counts as taken until the stepper has said that it is free again.
        if len(self._taken_slots) >= self._backend.n_slots:
            raise Overloaded(
                f"all {self._backend.n_slots} sessions of model {self.info.id} are taken; "
                "try again shortly or on another replica",
                retry_after_s=_RETRY_AFTER_S,
            )
        session_id = next(_session_ids)
        session = EngineSession(session_id, self._stepper, self._limits, self.info, self._forget)
        self._sessions[session_id] = session
        self._taken_slots.add(session_id)
        self._stepper.open(session_id, lane)
        return session

    def _forget(self, session_id: SessionId) -> None:
        self._sessions.pop(session_id, None)

    def _deliver_from_thread(self, deliveries: Sequence[Delivery]) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._deliver, deliveries)

    def _deliver(self, deliveries: Sequence[Delivery]) -> None:
        for delivery in deliveries:
            session = self._sessions.get(delivery.session_id)
            if session is not None:
                session.receive(delivery)
            if delivery.is_closed:
                self._taken_slots.discard(delivery.session_id)

    def _die_from_thread(self) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._die)

    def _die(self) -> None:
        self._is_dead.set()
        ended = StreamEnded(InternalError(_DEAD))
        for session in self._sessions.values():
            session.receive(Delivery(session.id, (ended,)))

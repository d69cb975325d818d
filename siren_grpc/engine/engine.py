"""Sessions of a device's models for asyncio callers: open, submit, take, close."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from dataclasses import replace as replaced

from siren_grpc.domain.errors import InternalError, Overloaded
from siren_grpc.domain.ports import ModelBackend, OutOfMemory
from siren_grpc.domain.types import Lane, ModelInfo
from siren_grpc.engine.session import EngineLimits, EngineSession
from siren_grpc.engine.stepper import Delivery, Failed, Stepper
from siren_grpc.scheduling.scheduler import SessionId
from siren_grpc.session.utterance import Utterance
from siren_grpc.text.detokenizer import Detokenizer

_RETRY_AFTER_S = 1.0
_MEMORY_PAUSE_S = 10.0
"""How long no session is opened after a step of a single row found no memory."""
_BEHIND_S = 2.0
"""How late steps may end before no session is opened: those that run would only be later still."""
_CATCH_UP_S = 2.0
"""For how long, counted from the last late step."""
_DEAD = "the recogniser stopped unexpectedly; the cause is in the server's log"
_session_ids = itertools.count(1)


@dataclass(slots=True)
class _Model:
    info: ModelInfo
    n_slots: int
    detokenizer: Detokenizer
    sessions: set[SessionId] = field(default_factory=set)
    """Sessions whose slots are taken: until the stepper has said that they are free again."""
    is_retiring: bool = False
    retired: asyncio.Event = field(default_factory=asyncio.Event)


class Engine:
    """Models that share a device, behind one stepper. Belongs to the event loop that made it."""

    def __init__(self, limits: EngineLimits, *, max_delay_s: float = 0.0) -> None:
        """Prepare; `start` starts the stepper. max_delay_s: as for `Stepper`."""
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._models: dict[str, _Model] = {}
        self._sessions: dict[SessionId, EngineSession] = {}
        self._model_of: dict[SessionId, _Model] = {}
        self._no_memory_until = 0.0
        self._behind_until = 0.0
        self._is_dead = asyncio.Event()
        self._stepper = Stepper(
            deliver=self._deliver_from_thread,
            on_death=self._die_from_thread,
            max_delay_s=max_delay_s,
        )

    @property
    def models(self) -> tuple[ModelInfo, ...]:
        """The models in service, in the order in which they came."""
        return tuple(m.info for m in self._models.values() if not m.is_retiring)

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

    def add_model(self, backend: ModelBackend) -> None:
        """Take a model that is warmed up into service.

        Raises ValueError when one of its id is in service already.
        """
        info = backend.info
        if info.id in self._models:
            raise ValueError(f"model {info.id} is in service already")
        detokenizer = Detokenizer(info.token_texts, info.punctuation)
        self._models[info.id] = _Model(info, backend.n_slots, detokenizer)
        self._stepper.add_model(info.id, backend)

    async def retire_model(self, model_id: str) -> None:
        """Take a model out of service, and free it when the last of its sessions has ended.

        Raises KeyError for a model that is not in service.
        """
        model = self._models[model_id]
        model.is_retiring = True
        while model.sessions:
            model.retired.clear()
            await model.retired.wait()
        del self._models[model_id]
        self._stepper.remove_model(model_id)

    def open(self, lane: Lane) -> EngineSession:
        """Open a session of a lane; one that names no model means the first.

        Raises Overloaded when every slot of the model is taken, memory has run out or the steps
        have fallen behind real time, KeyError for a model that is not in service, InternalError
        when the stepper has died.
        """
        if not self.is_alive:
            raise InternalError(_DEAD)
        name = lane.model or self.models[0].id
        model = self._models[name]
        if model.is_retiring:
            raise KeyError(name)
        if self._loop.time() < self._no_memory_until:
            raise Overloaded(
                "the server's device is out of memory; try again shortly or on another replica",
                retry_after_s=_MEMORY_PAUSE_S,
            )
        if self._loop.time() < self._behind_until:
            raise Overloaded(
                "recognition has fallen behind real time; try again shortly or on another replica",
                retry_after_s=_CATCH_UP_S,
            )
        if len(model.sessions) >= model.n_slots:
            raise Overloaded(
                f"all {model.n_slots} sessions of model {name} are taken; "
                "try again shortly or on another replica",
                retry_after_s=_RETRY_AFTER_S,
            )
        session_id = next(_session_ids)
        utterance = Utterance(model.detokenizer, model.info.features)
        session = EngineSession(
            session_id, self._stepper, self._limits, model.info, utterance, self._forget
        )
        self._sessions[session_id] = session
        self._model_of[session_id] = model
        model.sessions.add(session_id)
        self._stepper.open(session_id, replaced(lane, model=name))
        return session

    def _forget(self, session_id: SessionId) -> None:
        self._sessions.pop(session_id, None)

    def _deliver_from_thread(self, deliveries: Sequence[Delivery]) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._deliver, deliveries)

    def _deliver(self, deliveries: Sequence[Delivery]) -> None:
        for delivery in deliveries:
            session = self._sessions.get(delivery.session_id)
            if session is not None and delivery.outcome is not None:
                session.receive(delivery.outcome)
            if isinstance(delivery.outcome, Failed) and isinstance(
                delivery.outcome.cause, OutOfMemory
            ):
                self._no_memory_until = self._loop.time() + _MEMORY_PAUSE_S
            if delivery.late_s > _BEHIND_S:
                self._behind_until = self._loop.time() + _CATCH_UP_S
            if delivery.is_closed:
                model = self._model_of.pop(delivery.session_id)
                model.sessions.discard(delivery.session_id)
                if not model.sessions:
                    model.retired.set()

    def _die_from_thread(self) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._die)

    def _die(self) -> None:
        self._is_dead.set()
        for session in self._sessions.values():
            session.end(InternalError(_DEAD))

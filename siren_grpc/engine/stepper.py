"""The thread that steps the models of a device: plan, step, complete, deliver."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import TypeAlias

from siren_grpc.domain.ports import ModelBackend, OutOfMemory
from siren_grpc.domain.types import (
    AudioWork,
    DiscardUtterance,
    EndUtterance,
    Lane,
    StepResult,
    StepRow,
    Work,
)
from siren_grpc.scheduling.scheduler import LaneLimits, Marker, Scheduler, SessionId, StepPlan
from siren_grpc.scheduling.slots import SlotTable

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Recognised:
    """A chunk or preview, and what its step found."""

    work: AudioWork
    result: StepResult


@dataclass(frozen=True, slots=True)
class Failed:
    """A chunk or preview whose step failed; nothing of the session follows."""

    work: AudioWork
    cause: Exception


Outcome: TypeAlias = Recognised | Failed | Marker


@dataclass(frozen=True, slots=True)
class Delivery:
    """What one plan means for one session.

    is_closed: the session's slot is free; nothing follows.
    """

    session_id: SessionId
    outcome: Outcome | None = None
    is_closed: bool = False


@dataclass(frozen=True, slots=True)
class _Open:
    session_id: SessionId
    lane: Lane


@dataclass(frozen=True, slots=True)
class _Push:
    session_id: SessionId
    work: Work
    received_at: float


@dataclass(frozen=True, slots=True)
class _Close:
    session_id: SessionId


@dataclass(frozen=True, slots=True)
class _AddModel:
    name: str
    backend: ModelBackend


@dataclass(frozen=True, slots=True)
class _RemoveModel:
    name: str


_Message: TypeAlias = _Open | _Push | _Close | _AddModel | _RemoveModel


@dataclass(slots=True)
class _Model:
    backend: ModelBackend
    slots: SlotTable
    batch_sizes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Stream:
    model: _Model
    slot: int


class Stepper:
    """Owns a device's models, their slots and the scheduler; sessions' text is not its business.

    Callers talk to it by messages only; it answers by `deliver`, called in its thread once a
    step. The inbox itself is not bounded: sessions bound what they submit (`EngineSession`).
    """

    def __init__(
        self,
        *,
        deliver: Callable[[Sequence[Delivery]], None],
        on_death: Callable[[], None],
        max_delay_s: float = 0.0,
    ) -> None:
        """Prepare the thread; `start` starts it.

        deliver: takes the outcomes of a step. on_death: called once if the thread ends by itself;
        no session hears from it again. Both are called in the thread. max_delay_s: how long a
        chunk may wait for others to share its step.
        """
        self._deliver = deliver
        self._on_death = on_death
        self._scheduler = Scheduler(max_delay_s=max_delay_s)
        self._models: dict[str, _Model] = {}
        self._streams: dict[SessionId, _Stream] = {}
        self._inbox: deque[_Message] = deque()
        self._wakeup = threading.Condition()
        self._is_stopping = False
        self._thread = threading.Thread(target=self._run, name="stepper", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, *, timeout_s: float) -> None:
        """End the thread after the step under way; sessions still open get nothing more."""
        with self._wakeup:
            self._is_stopping = True
            self._wakeup.notify()
        self._thread.join(timeout_s)

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def add_model(self, name: str, backend: ModelBackend) -> None:
        """Take over a model that is warmed up; lanes name it by `name`."""
        self._post(_AddModel(name, backend))

    def remove_model(self, name: str) -> None:
        """Let go of a model that no session uses any more."""
        self._post(_RemoveModel(name))

    def open(self, session_id: SessionId, lane: Lane) -> None:
        """Give a session a slot; the caller has made sure that one is free."""
        self._post(_Open(session_id, lane))

    def push(self, session_id: SessionId, work: Sequence[Work]) -> None:
        """Queue work of a session, in order."""
        now = monotonic()
        self._post(*(_Push(session_id, item, now) for item in work))

    def close(self, session_id: SessionId) -> None:
        """Drop a session's work and free its slot."""
        self._post(_Close(session_id))

    def _post(self, *messages: _Message) -> None:
        with self._wakeup:
            self._inbox.extend(messages)
            self._wakeup.notify()

    def _run(self) -> None:
        try:
            while True:
                plan = self._scheduler.plan(monotonic())
                if not plan.is_empty:
                    self._execute(plan)
                for message in self._next_messages(plan):
                    self._receive(message)
                if self._is_stopping:
                    return
        except Exception:
            _log.exception("the stepper died")
            self._on_death()

    def _next_messages(self, plan: StepPlan) -> list[_Message]:
        """Return what has come in; behind an empty plan, wait for it or for a batch to ripen."""
        with self._wakeup:
            if plan.is_empty and not self._inbox and not self._is_stopping:
                wait = None if plan.wake_at is None else plan.wake_at - monotonic()
                if wait is None or wait > 0:
                    self._wakeup.wait(wait)
            messages = list(self._inbox)
            self._inbox.clear()
        return messages

    def _receive(self, message: _Message) -> None:
        if isinstance(message, _Push):
            self._scheduler.push(message.session_id, message.work, message.received_at)
        elif isinstance(message, _Open):
            model = self._models[message.lane.model]
            slot = model.slots.acquire()
            model.backend.reset_slot(slot)
            self._streams[message.session_id] = _Stream(model, slot)
            self._scheduler.add(message.session_id, message.lane, _limits(model))
        elif isinstance(message, _Close):
            self._close(message.session_id)
        elif isinstance(message, _AddModel):
            backend = message.backend
            slots = SlotTable(backend.n_slots)
            self._models[message.name] = _Model(backend, slots, backend.batch_sizes)
        else:
            del self._models[message.name]

    def _close(self, session_id: SessionId) -> None:
        self._scheduler.remove(session_id)
        stream = self._streams.pop(session_id, None)
        if stream is not None:
            stream.model.slots.release(stream.slot)
            self._deliver([Delivery(session_id, is_closed=True)])

    def _execute(self, plan: StepPlan) -> None:
        for session_id, marker in plan.markers:
            if isinstance(marker, (EndUtterance, DiscardUtterance)):
                stream = self._streams[session_id]
                stream.model.backend.reset_slot(stream.slot)
        deliveries = [Delivery(session_id, marker) for session_id, marker in plan.markers]
        if plan.lane is not None:
            deliveries.extend(self._step(plan.lane, plan.rows))
        self._scheduler.complete(plan)
        self._deliver(deliveries)

    def _step(self, lane: Lane, works: Sequence[tuple[SessionId, AudioWork]]) -> list[Delivery]:
        rows = [StepRow(self._streams[session_id].slot, work) for session_id, work in works]
        deliveries = []
        found = self._found(lane, rows)
        for (session_id, work), result in zip(works, found, strict=True):
            outcome: Outcome
            if isinstance(result, StepResult):
                outcome = Recognised(work, result)
            else:
                self._scheduler.remove(session_id)
                _log.error("session %d: step failed", session_id, exc_info=result)
                outcome = Failed(work, result)
            deliveries.append(Delivery(session_id, outcome))
        return deliveries

    def _found(self, lane: Lane, rows: list[StepRow]) -> list[StepResult | Exception]:
        """Step a batch; if it fails, step each row alone, so that only the guilty one fails.

        A batch too large for the memory is halved, and so are the lane's batches from then on.
        """
        model = self._models[lane.model]
        try:
            return list(model.backend.step(lane, rows))
        except OutOfMemory as error:
            if len(rows) == 1:
                return [error]
            half = len(rows) // 2
            model.batch_sizes = _no_larger(model.batch_sizes, half)
            self._scheduler.limit(lane, _limits(model))
            _log.warning(
                "out of memory: steps of %s take at most %d rows from now on",
                model.backend.info.id,
                model.batch_sizes[-1],
            )
            return self._found(lane, rows[:half]) + self._found(lane, rows[half:])
        except Exception as error:
            if len(rows) == 1:
                return [error]
        return [result for row in rows for result in self._found(lane, [row])]


def _limits(model: _Model) -> LaneLimits:
    return LaneLimits(model.backend.info.features.sample_rate_hertz, model.batch_sizes)


def _no_larger(sizes: tuple[int, ...], most: int) -> tuple[int, ...]:
    return tuple(size for size in sizes if size <= most) or (1,)

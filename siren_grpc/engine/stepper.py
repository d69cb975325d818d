"""The threads that step the models of a device: plan, step, complete, deliver."""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
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

    is_closed: the session's slot is free; nothing follows. late_s: how long behind its deadline
    the step ended; negative when it was in time.
    """

    session_id: SessionId
    outcome: Outcome | None = None
    is_closed: bool = False
    late_s: float = float("-inf")


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


@dataclass(frozen=True, slots=True)
class _Done:
    """A step has ended in a worker.

    found: one for each row of the plan, or what the worker died of. most_rows: the most rows that
    found memory, None if memory was no matter.
    """

    plan: StepPlan
    found: list[StepResult | Exception] | BaseException
    most_rows: int | None = None


_Message: TypeAlias = _Open | _Push | _Close | _AddModel | _RemoveModel | _Done


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

    One thread plans; steps run in it, or where several at once are worth it in workers. Callers
    talk to it by messages only; it answers by `deliver`, called in its thread once a step. The
    inbox itself is not bounded: sessions bound what they submit (`EngineSession`).
    """

    def __init__(
        self,
        *,
        deliver: Callable[[Sequence[Delivery]], None],
        on_death: Callable[[], None],
        max_delay_s: float = 0.0,
    ) -> None:
        """Prepare the threads; `start` starts them.

        deliver: takes the outcomes of a step. on_death: called once if the thread ends by itself;
        no session hears from it again. Both are called in the thread. max_delay_s: as for
        `Scheduler`.
        """
        self._deliver = deliver
        self._on_death = on_death
        self._scheduler = Scheduler(max_delay_s=max_delay_s)
        self._models: dict[str, _Model] = {}
        self._streams: dict[SessionId, _Stream] = {}
        self._in_flight: set[SessionId] = set()
        self._closing: set[SessionId] = set()
        """Sessions that were closed while a step had their slot."""
        self._n_workers = self._n_idle = 1
        """Steps there may be at once: as many as the models say is worth it."""
        self._workers = ThreadPoolExecutor(os.cpu_count(), "step")
        self._inbox: deque[_Message] = deque()
        self._wakeup = threading.Condition()
        self._is_stopping = False
        self._thread = threading.Thread(target=self._run, name="stepper", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, *, timeout_s: float) -> None:
        """End the threads after the steps under way; sessions still open get nothing more."""
        with self._wakeup:
            self._is_stopping = True
            self._wakeup.notify()
        self._thread.join(timeout_s)
        self._workers.shutdown(wait=False)

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

    def push_all(self, works: Sequence[tuple[SessionId, Sequence[Work]]]) -> None:
        """Queue work of several sessions at once: none is stepped before all of it is there."""
        now = monotonic()
        self._post(*(_Push(session_id, item, now) for session_id, work in works for item in work))

    def close(self, session_id: SessionId) -> None:
        """Drop a session's work and free its slot."""
        self._post(_Close(session_id))

    def _post(self, *messages: _Message) -> None:
        with self._wakeup:
            self._inbox.extend(messages)
            self._wakeup.notify()

    def _run(self) -> None:
        try:
            while not self._is_stopping:
                plan = StepPlan((), None, ())
                if self._n_idle:
                    plan = self._scheduler.plan(monotonic(), n_idle=self._n_idle)
                if not plan.is_empty:
                    self._begin(plan)
                for message in self._next_messages(plan):
                    self._receive(message)
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
        elif isinstance(message, _Done):
            self._n_idle += 1
            self._end(message)
        elif isinstance(message, _Close):
            self._close(message.session_id)
        elif isinstance(message, _AddModel):
            backend = message.backend
            slots = SlotTable(backend.n_slots)
            self._models[message.name] = _Model(backend, slots, backend.batch_sizes)
            more = max(0, backend.n_parallel - self._n_workers)
            self._n_workers += more
            self._n_idle += more
        else:
            del self._models[message.name]

    def _close(self, session_id: SessionId) -> None:
        self._scheduler.remove(session_id)
        if session_id in self._in_flight:
            self._closing.add(session_id)  # its slot is free when the step has ended
            return
        stream = self._streams.pop(session_id, None)
        if stream is not None:
            stream.model.slots.release(stream.slot)
            self._deliver([Delivery(session_id, is_closed=True)])

    def _begin(self, plan: StepPlan) -> None:
        """Carry out a plan's markers, and step its rows: here, or in a worker."""
        for session_id, marker in plan.markers:
            if isinstance(marker, (EndUtterance, DiscardUtterance)):
                stream = self._streams[session_id]
                stream.model.backend.reset_slot(stream.slot)
        if plan.markers:
            self._deliver([Delivery(session_id, marker) for session_id, marker in plan.markers])
        if plan.lane is None:
            return
        rows = [StepRow(self._streams[session_id].slot, work) for session_id, work in plan.rows]
        backend = self._models[plan.lane.model].backend
        if self._n_workers == 1:
            self._end(_step(backend, plan, plan.lane, rows))
            return
        self._n_idle -= 1
        self._in_flight.update(session_id for session_id, _ in plan.rows)
        self._workers.submit(self._work, backend, plan, plan.lane, rows)

    def _work(self, backend: ModelBackend, plan: StepPlan, lane: Lane, rows: list[StepRow]) -> None:
        """Step in a worker. What is no failure of the step is the stepper's death."""
        try:
            self._post(_step(backend, plan, lane, rows))
        except BaseException as error:
            self._post(_Done(plan, error))

    def _end(self, done: _Done) -> None:
        """Take in what a step found."""
        plan, found = done.plan, done.found
        if isinstance(found, BaseException):
            raise RuntimeError("a worker died") from found
        if plan.lane is not None and done.most_rows is not None:
            self._limit(plan.lane, done.most_rows)
        deliveries = []
        late_s = float("-inf") if plan.deadline is None else monotonic() - plan.deadline
        for (session_id, work), result in zip(plan.rows, found, strict=True):
            self._in_flight.discard(session_id)
            if isinstance(result, StepResult):
                outcome: Outcome = Recognised(work, result)
            else:
                self._scheduler.remove(session_id)
                _log.error("session %d: step failed", session_id, exc_info=result)
                outcome = Failed(work, result)
            deliveries.append(Delivery(session_id, outcome, late_s=late_s))
        self._scheduler.complete(plan)
        self._deliver(deliveries)
        for session_id in self._closing.intersection(s for s, _ in plan.rows):
            self._closing.remove(session_id)
            self._close(session_id)

    def _limit(self, lane: Lane, most_rows: int) -> None:
        """Make no larger batches of a model from now on: they found no memory."""
        model = self._models[lane.model]
        fitting = tuple(size for size in model.batch_sizes if size <= most_rows)
        model.batch_sizes = fitting or model.batch_sizes[:1]
        self._scheduler.limit(lane, _limits(model))
        _log.warning(
            "out of memory: steps of %s take at most %d rows from now on",
            model.backend.info.id,
            model.batch_sizes[-1],
        )


def _step(backend: ModelBackend, plan: StepPlan, lane: Lane, rows: list[StepRow]) -> _Done:
    """Step a batch; if it fails, step each row alone, so that only the guilty one fails.

    A batch too large for the memory is halved.
    """
    try:
        return _Done(plan, list(backend.step(lane, rows)))
    except Exception as error:
        if len(rows) == 1:
            return _Done(plan, [error])
        is_too_large = isinstance(error, OutOfMemory)
    size = len(rows) // 2 if is_too_large else 1
    found: list[StepResult | Exception] = []
    most_rows = size if is_too_large else None
    for start in range(0, len(rows), size):
        part = _step(backend, plan, lane, rows[start : start + size])
        if isinstance(part.found, BaseException):
            raise part.found
        found += part.found
        if part.most_rows is not None:
            most_rows = min(part.most_rows, most_rows or part.most_rows)
    return _Done(plan, found, most_rows)


def _limits(model: _Model) -> LaneLimits:
    return LaneLimits(model.backend.info.features.sample_rate_hertz, model.batch_sizes)

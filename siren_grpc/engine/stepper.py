"""The threads that step the models of a device: plan, step, complete, deliver."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from time import monotonic
from typing import TypeAlias

from siren_grpc.domain.errors import SirenError
from siren_grpc.domain.model import Lane
from siren_grpc.domain.ports import ModelBackend, OutOfMemory
from siren_grpc.domain.step import StepResult, StepRow
from siren_grpc.domain.work import Chunk
from siren_grpc.engine.aside import Aside, AsideMessage
from siren_grpc.engine.batch import error_of
from siren_grpc.engine.doorkeeper import Doorkeeper
from siren_grpc.engine.heartbeat import Heartbeat
from siren_grpc.engine.inbox import Inbox
from siren_grpc.engine.markers import carry_out
from siren_grpc.engine.messages import (
    Close,
    Delivery,
    Failed,
    Message,
    Notice,
    Open,
    Opened,
    Outcome,
    Push,
    Recognised,
    Refused,
)
from siren_grpc.engine.phrases import TreeBuilt
from siren_grpc.engine.session_table import SessionTable
from siren_grpc.engine.step_tally import EngineLoad, StepTally, trace_step
from siren_grpc.engine.step_workers import StepDone, StepWorkers
from siren_grpc.observe.tracing import Tracing
from siren_grpc.scheduling.plan import SessionId, StepPlan
from siren_grpc.scheduling.scheduler import Scheduler

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _AddModel:
    name: str
    backend: ModelBackend


@dataclass(frozen=True, slots=True)
class _RetireModel:
    name: str
    on_freed: Callable[[], None]


@dataclass(frozen=True, slots=True)
class _CloseAll:
    front_end: int


_Inbound: TypeAlias = Message | AsideMessage | _AddModel | _RetireModel | _CloseAll | StepDone
_ANY_NUMBER = 1 << 40
"""More sessions than there are."""


def _n_leaving(message: _Inbound) -> int:
    """Return how many sessions a message may end, at most."""
    if isinstance(message, Close):
        return 1
    # Of phrases that cannot be had, too, all may end that wait for them.
    return _ANY_NUMBER if isinstance(message, (_CloseAll, TreeBuilt)) else 0


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
        max_load: float = 0.0,
        tracing: Tracing | None = None,
    ) -> None:
        """Prepare the threads; `start` starts them.

        deliver: takes the outcomes of a step. on_death: called once if the thread ends by itself;
        no session hears from it again. Both are called in the thread. max_delay_s: as for
        `Scheduler`. max_load: as for `Load`. tracing: records the steps of sessions whose calls
        are traced.
        """
        self._tracing = tracing
        self._deliver = deliver
        self._on_death = on_death
        self._scheduler = Scheduler(max_delay_s=max_delay_s)
        self._doorkeeper = Doorkeeper(max_load=max_load)
        self._sessions = SessionTable(self._doorkeeper)
        self._in_flight: set[SessionId] = set()
        self._closing: set[SessionId] = set()
        """Sessions that were closed while a step had their slot."""
        self._n_leaving = 0
        """Sessions that messages in the inbox may end."""
        self._leaving = threading.Lock()
        self._tally = StepTally()
        self.heartbeat = Heartbeat()
        self._workers = StepWorkers(self._post, self.heartbeat)
        self._aside = Aside(
            self._sessions, deliver=deliver, post=self._post, heartbeat=self.heartbeat
        )
        self._inbox: Inbox[_Inbound] = Inbox(self.heartbeat.rest, self.heartbeat.beat)
        self._thread = threading.Thread(target=self._run, name="stepper", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, *, timeout_s: float) -> None:
        """End the threads after the steps under way; sessions still open get nothing more."""
        self._inbox.close()
        self._thread.join(timeout_s)
        self._workers.stop()
        self._aside.stop()

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    @property
    def tally(self) -> StepTally:
        """What was counted so far."""
        return self._tally

    @property
    def load(self) -> EngineLoad:
        """Sessions and work as they are now; from any thread."""
        return EngineLoad(self._sessions.loads, self._workers.n_workers, self._tally.busy_s)

    @property
    def counts(self) -> dict[str, int]:
        """Sessions, their slots, and those whose step must end first; from any thread."""
        return {**self._sessions.counts, "closing": len(self._closing)}

    def add_model(self, name: str, backend: ModelBackend) -> None:
        """Take over a model that is warmed up; lanes name it by `name`, which is used once."""
        self._post(_AddModel(name, backend))

    def retire_model(self, name: str, on_freed: Callable[[], None]) -> None:
        """Open no more sessions of a model, and let go of it when the last has ended.

        on_freed: called then, in the thread.
        """
        self._post(_RetireModel(name, on_freed))

    def post(self, messages: Iterable[Message]) -> None:
        """Take messages in order. Work that comes in one call is there for one step."""
        self._post(*messages)

    def close_all(self, front_end: int) -> None:
        """Close every session of a front end that is gone."""
        self._post(_CloseAll(front_end))

    def _post(self, *messages: _Inbound) -> None:
        self._note_leaving(sum(map(_n_leaving, messages)))
        self._inbox.put(*messages)

    def _note_leaving(self, n_more: int) -> None:
        if n_more:
            with self._leaving:
                self._n_leaving += n_more

    def _run(self) -> None:
        try:
            while not self._inbox.is_closed:
                self.heartbeat.beat()
                plan = StepPlan((), None, ())
                if self._workers.n_idle:
                    plan = self._scheduler.plan(monotonic(), n_idle=self._workers.n_idle)
                if not plan.is_empty:
                    self._begin(plan)
                for message in self._next_messages(plan):
                    self._receive(message)
                    self._note_leaving(-_n_leaving(message))  # gone, or among `_closing`
        except Exception:
            _log.exception("the stepper died")
            self._on_death()
        finally:
            self.heartbeat.rest()

    def _next_messages(self, plan: StepPlan) -> list[_Inbound]:
        """Return what has come in; behind an empty plan, wait for it or for a batch to ripen."""
        if not plan.is_empty:
            return self._inbox.take_all()
        wait_s = None if plan.wake_at is None else max(0.0, plan.wake_at - monotonic())
        return self._inbox.take_all(wait_s=wait_s)

    def _receive(self, message: _Inbound) -> None:
        if isinstance(message, Push):
            self._scheduler.push(message.session_id, message.work, message.received_at)
            if isinstance(message.work, Chunk):
                refusal = self._sessions.charge(message.session_id, message.work)
                if refusal is not None:
                    self._deliver([Delivery(message.session_id, Notice(refusal))])
        elif isinstance(message, Open):
            self._open(message)
        elif isinstance(message, StepDone):
            self._workers.note_posted()
            self._end(message)
        elif isinstance(message, AsideMessage):
            self._aside.receive(message)
        elif isinstance(message, Close):
            self._close(message.session_id)
        elif isinstance(message, _CloseAll):
            for session_id in self._sessions.of_front_end(message.front_end):
                self._close(session_id)
        elif isinstance(message, _AddModel):
            backend = message.backend
            phrases = self._aside.phrase_store(backend)
            self._sessions.add_model(message.name, backend, phrases)
            self._workers.grow(backend.n_parallel)
        else:
            self._sessions.retire_model(message.name, message.on_freed)

    def _open(self, message: Open) -> None:
        session_id = message.session_id
        try:
            session = self._sessions.admit(
                message, self._scheduler.live_counts(), n_workers=self._workers.n_workers
            )
        except SirenError as error:
            self._deliver([Delivery(session_id, Refused(error))])
            return
        model = session.model
        self._scheduler.add(session_id, message.lane, model.limits, is_live=message.is_live)
        if not message.phrases:
            self._deliver([Delivery(session_id, Opened())])
            return

        def on_ready(error: SirenError | None) -> None:
            if error is None:
                store.use(session_id, message.phrases)
                self._deliver([Delivery(session_id, Opened())])
            else:
                self._close(session_id)
                self._deliver([Delivery(session_id, Refused(error))])

        store = model.phrase_store
        store.prepare(session_id, session.slot, message.phrases, on_ready)

    def quick_refusal(self, message: Open) -> SirenError | None:
        """Return what a session is refused with, if that is certain before its turn comes.

        From any thread, and without a wait for the step under way. None leaves it to that turn.
        """
        # Read before what is there now: who leaves meanwhile counts as leaving once more, at worst.
        n_leaving = self._n_leaving + len(self._closing)
        return self._sessions.quick_refusal(
            message,
            self._scheduler.live_counts(),
            n_workers=self._workers.n_workers,
            n_leaving=n_leaving,
        )

    def _close(self, session_id: SessionId) -> None:
        self._scheduler.remove(session_id)
        if session_id in self._in_flight:
            self._closing.add(session_id)  # its slot is free when the step has ended
            return
        self._sessions.release(session_id)

    def _begin(self, plan: StepPlan) -> None:
        """Carry out a plan's markers, and step its rows: here, or in a worker."""
        plan = self._carry_out_markers(plan)
        if plan.lane is None:
            return
        rows = []
        for session_id, work in plan.rows:
            session = self._sessions[session_id]
            rows.append(
                StepRow(session.slot, work, session.words, keeps_frames=session.alternatives > 0)
            )
        backend = self._sessions.model(plan.lane).backend
        done = self._workers.run(backend, plan, plan.lane, rows)
        if done is None:
            self._in_flight.update(session_id for session_id, _ in plan.rows)
        else:
            self._end(done)

    def _carry_out_markers(self, plan: StepPlan) -> StepPlan:
        """Return what is left of a plan: sessions that fail at a marker lose their rows."""
        deliveries, without_memory = carry_out(plan.markers, self._sessions)
        for session_id, error in without_memory.items():
            _log.error("session %d: no memory to start afresh", session_id, exc_info=error)
            self._fail(session_id, error, monotonic())
        if deliveries:
            self._deliver(deliveries)
        rows = tuple(row for row in plan.rows if row[0] not in without_memory)
        if len(rows) == len(plan.rows):
            return plan
        if not rows:
            self._scheduler.complete(plan, monotonic())
        return replace(plan, rows=rows, lane=plan.lane if rows else None)

    def _fail(self, session_id: SessionId, error: Exception, now: float) -> None:
        """Do nothing more for a session, which its front end closes when it hears of that."""
        self._scheduler.remove(session_id)
        if isinstance(error, OutOfMemory):
            self._doorkeeper.note_no_memory(now)

    def _end(self, done: StepDone) -> None:
        """Take in what a step found."""
        plan, batch = done.plan, done.outcome
        if isinstance(batch, BaseException):
            raise RuntimeError("a worker died") from batch
        if plan.lane is None:
            raise AssertionError("a step without a lane")
        now = monotonic()
        if batch.most_rows is not None:
            self._limit(plan.lane, batch.most_rows)
        self._note(plan, plan.lane, batch.found, now)
        deliveries = []
        for (session_id, work), result in zip(plan.rows, batch.found, strict=True):
            self._in_flight.discard(session_id)
            if isinstance(result, StepResult):
                outcome: Outcome = Recognised(work, result, now - plan.began_at)
            else:
                _log.error("session %d: step failed", session_id, exc_info=result)
                self._fail(session_id, result, now)
                outcome = Failed(work, error_of(result))
            deliveries.append(Delivery(session_id, outcome))
        self._scheduler.complete(plan, now)
        self._deliver(deliveries)
        for session_id in self._closing.intersection(s for s, _ in plan.rows):
            self._close(session_id)
            self._closing.remove(session_id)  # behind it: `quick_refusal` looks here first

    def _note(
        self, plan: StepPlan, lane: Lane, found: Sequence[StepResult | Exception], now: float
    ) -> None:
        """Take a step down for metrics, traces and admission."""
        info = self._sessions.model(lane).info
        self._tally.note(plan, info, found, now)
        if self._tracing is not None:
            parents = [self._sessions[session].traceparent for session, _ in plan.rows]
            trace_step(self._tracing, plan, info.id, parents, now)
        self._doorkeeper.note_step(plan, self._sessions.work_of(lane), now)

    def _limit(self, lane: Lane, most_rows: int) -> None:
        """Make no larger batches of a model from now on: they found no memory."""
        model = self._sessions.model(lane)
        fitting = tuple(size for size in model.batch_sizes if size <= most_rows)
        model.batch_sizes = fitting or model.batch_sizes[:1]
        self._scheduler.limit(lane, model.limits)
        _log.warning(
            "out of memory: steps of %s take at most %d rows from now on",
            model.info.id,
            model.batch_sizes[-1],
        )

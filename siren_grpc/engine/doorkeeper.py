"""Who may start: any thread asks, the stepper's takes note of what speaks for and against it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass

from siren_grpc.domain.errors import SirenError
from siren_grpc.domain.model import Lane
from siren_grpc.domain.principal import Caller
from siren_grpc.scheduling.admission import Admission, too_much
from siren_grpc.scheduling.load import LaneWork, Load
from siren_grpc.scheduling.plan import SessionId, StepKind, StepPlan
from siren_grpc.scheduling.quotas import QuotaLedger


@dataclass(frozen=True, slots=True)
class Newcomer:
    """A session that asks for a slot, and what it finds.

    caller, is_live: as in `Open`. work: what it would have to be stepped for. model, n_slots,
    n_free: its model's id, slots, and those of them that are free. n_live: live sessions of each
    lane that has any. n_workers: steps there may be at once. n_leaving: sessions, of whatever
    model and caller, that may be gone when its turn comes although they count here.
    """

    caller: Caller
    is_live: bool
    work: LaneWork
    model: str
    n_slots: int
    n_free: int
    n_live: Mapping[Lane, int]
    n_workers: int
    n_leaving: int = 0


class Doorkeeper:
    """Asks admission, load and quotas. One lock is around them, held for microseconds.

    So whoever is refused need not wait for the step under way: that may take half a second.
    """

    def __init__(self, *, max_load: float) -> None:
        """Start with nothing against anybody. max_load: as for `Load`."""
        self._lock = threading.Lock()
        self._load = Load(max_load=max_load)
        self._admission = Admission(self._load)
        self._quotas = QuotaLedger()

    def refusal(self, newcomer: Newcomer, now: float) -> SirenError | None:
        """Return why a session may not start, None if it may. Changes nothing; from any thread.

        Never a refusal for want of what `n_leaving` sessions may leave behind.
        """
        with self._lock:
            return self._refusal(newcomer, now, is_start=False)

    def admit(self, newcomer: Newcomer, now: float) -> SirenError | None:
        """Return why a session may not start; if it may, take note that it does."""
        with self._lock:
            return self._refusal(newcomer, now, is_start=True)

    def enter(self, session_id: SessionId, caller: Caller, now: float) -> None:
        """Count a session that has its slot against its caller's quota."""
        with self._lock:
            self._quotas.open(session_id, caller, now)

    def leave(self, session_id: SessionId) -> None:
        """Take a session off its caller's quota; harmless for one that is not on it."""
        with self._lock:
            self._quotas.close(session_id)

    def counts(self, session_id: SessionId) -> bool:
        """Whether there is audio to `charge` of a session."""
        return self._quotas.counts(session_id)  # only the thread that asks here changes it

    def charge(
        self, session_id: SessionId, end_samples: int, hertz: int, now: float
    ) -> SirenError | None:
        """Count a session's audio: as `QuotaLedger.charge`."""
        with self._lock:
            return self._quotas.charge(session_id, end_samples, hertz, now)

    def expect(self, work: LaneWork, alone_s: Mapping[int, float]) -> None:
        """Take note of what a lane's steps take alone: as `Load.expect`."""
        with self._lock:
            self._load.expect(work, alone_s)

    def forget(self, model: str) -> None:
        """Forget the lanes of a model that is gone, by the name that lanes have for it."""
        with self._lock:
            self._load.forget(model)

    def note_step(self, plan: StepPlan, work: LaneWork, now: float) -> None:
        """Take note of a step that has ended. work: what sessions of its lane bring."""
        with self._lock:
            if plan.deadline is not None:
                self._admission.note_late(now - plan.deadline, now)
            if plan.kind is StepKind.LIVE and self._load.is_bounded:
                took_s = now - plan.began_at
                self._load.note_step(work, len(plan.rows), plan.waits_s, took_s, now)

    def note_no_memory(self, now: float) -> None:
        """Take note that even a single session found no memory."""
        with self._lock:
            self._admission.note_no_memory(now)

    def _refusal(self, newcomer: Newcomer, now: float, *, is_start: bool) -> SirenError | None:
        n_leaving = newcomer.n_leaving
        refusal = self._quotas.refusal(
            newcomer.caller, now, n_leaving=n_leaving
        ) or self._admission.refusal(
            newcomer.model,
            n_slots=newcomer.n_slots,
            n_free=min(newcomer.n_slots, newcomer.n_free + n_leaving),
            is_live=newcomer.is_live,
            now=now,
        )
        if refusal is not None or not newcomer.is_live:
            return refusal
        n_live = {lane: max(0, n - n_leaving) for lane, n in newcomer.n_live.items()}
        ask = self._load.may_start if is_start else self._load.has_room
        has_room = ask(newcomer.work, n_live, n_workers=newcomer.n_workers, now=now)
        return None if has_room else too_much()

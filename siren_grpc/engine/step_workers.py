"""Where steps run: in the stepper's own thread, or several at once in threads of their own."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from siren_grpc.domain.model import Lane
from siren_grpc.domain.ports import ModelBackend
from siren_grpc.domain.step import StepRow
from siren_grpc.engine.batch import BatchOutcome, step_batch
from siren_grpc.engine.heartbeat import Heartbeat
from siren_grpc.scheduling.plan import StepPlan


@dataclass(frozen=True, slots=True)
class StepDone:
    """A step has ended; with an exception if its worker died of it."""

    plan: StepPlan
    outcome: BatchOutcome | BaseException


class StepWorkers:
    """Runs steps. Belongs to the stepper's thread, which is the only worker at first."""

    def __init__(self, post: Callable[[StepDone], None], heartbeat: Heartbeat) -> None:
        """Prepare. post: brings a step that ended in a worker to the stepper's thread."""
        self._post = post
        self._heartbeat = heartbeat
        self._threads = ThreadPoolExecutor(os.cpu_count(), "step")
        self._n_workers = self._n_idle = 1

    @property
    def n_workers(self) -> int:
        """Steps there may be at once: as many as the models say is worth it."""
        return self._n_workers

    @property
    def n_idle(self) -> int:
        """Steps that may begin now."""
        return self._n_idle

    def grow(self, n_workers: int) -> None:
        """Run so many steps at once from now on, if it is more than before."""
        more = max(0, n_workers - self._n_workers)
        self._n_workers += more
        self._n_idle += more

    def run(
        self, backend: ModelBackend, plan: StepPlan, lane: Lane, rows: Sequence[StepRow]
    ) -> StepDone | None:
        """Step now and return what came of it; None if a worker steps, and posts it later."""
        if self._n_workers == 1:
            return StepDone(plan, step_batch(backend, lane, rows))
        self._n_idle -= 1
        self._threads.submit(self._work, backend, plan, lane, rows)
        return None

    def note_posted(self) -> None:
        """Take note that what a worker posted has arrived: it is idle again."""
        self._n_idle += 1

    def stop(self) -> None:
        """Begin no more steps."""
        self._threads.shutdown(wait=False)

    def _work(
        self, backend: ModelBackend, plan: StepPlan, lane: Lane, rows: Sequence[StepRow]
    ) -> None:
        """Step in a worker. What is no failure of the step is the stepper's death."""
        self._heartbeat.beat()
        try:
            self._post(StepDone(plan, step_batch(backend, lane, rows)))
        except BaseException as error:
            self._post(StepDone(plan, error))
        finally:
            self._heartbeat.rest()

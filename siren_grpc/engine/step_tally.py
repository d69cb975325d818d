"""What the stepper counts: written by its thread only, read by any."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

from siren_grpc.domain.model import Lane, ModelInfo
from siren_grpc.domain.ports import OutOfMemory
from siren_grpc.domain.step import StepResult
from siren_grpc.observe import metrics
from siren_grpc.observe.instruments import Histogram, Number, Snapshot, Tally
from siren_grpc.observe.tracing import Tracing
from siren_grpc.scheduling.plan import StepKind, StepPlan

_log = logging.getLogger(__name__)
_LATE_S = 0.1
"""The last chunks of an utterance are due at once: every step of theirs is a little late."""


@dataclass(frozen=True, slots=True)
class ModelLoad:
    """How many sessions a model has, and how many it holds."""

    n_active: int
    n_slots: int


@dataclass(frozen=True, slots=True)
class EngineLoad:
    """What the stepper has to do. busy_s: spent in steps so far, by all of its workers."""

    models: dict[str, ModelLoad]
    n_workers: int
    busy_s: float


class StepTally:
    """Counts steps: durations, rows, audio, failures."""

    def __init__(self) -> None:
        """Start at zero."""
        self._tally = Tally()
        self._lanes: dict[tuple[Lane, StepKind], tuple[Histogram, Histogram]] = {}
        self._models: dict[str, tuple[Number, Number]] = {}
        self.busy_s = 0.0

    def note(
        self,
        plan: StepPlan,
        info: ModelInfo,
        found: Sequence[StepResult | Exception],
        now: float,
    ) -> None:
        """Count a step that has ended, under the name clients know its model by."""
        if plan.lane is None:
            return
        lane = replace(plan.lane, model=info.id)
        durations, rows = self._of_lane(lane, plan.kind)
        audio, late = self._of_model(lane.model)
        duration = now - plan.began_at
        self.busy_s += duration
        durations.observe(duration)
        rows.observe(len(plan.rows))
        for error in [result for result in found if isinstance(result, Exception)]:
            cause = "memory" if isinstance(error, OutOfMemory) else "model"
            self._tally.number(metrics.ROWS_FAILED, lane.model, cause).value += 1
        if plan.kind is not StepKind.PREVIEWS:  # previews are heard again
            pairs = zip(plan.rows, found, strict=True)
            heard = [len(work.samples) for (_, work), r in pairs if isinstance(r, StepResult)]
            audio.value += sum(heard) / info.features.sample_rate_hertz
        if plan.deadline is not None and now > plan.deadline + _LATE_S:
            late.value += 1

    def read(self) -> Snapshot:
        """Return the numbers as they are now; from any thread."""
        return self._tally.read()

    def _of_lane(self, lane: Lane, kind: StepKind) -> tuple[Histogram, Histogram]:
        found = self._lanes.get((lane, kind))
        if found is None:
            labels = (lane.model, str(lane.chunk_frames), lane.decoder.value, kind.value)
            found = self._lanes[lane, kind] = (
                self._tally.histogram(metrics.STEP_DURATION, *labels),
                self._tally.histogram(metrics.BATCH_ROWS, *labels),
            )
        return found

    def _of_model(self, model: str) -> tuple[Number, Number]:
        found = self._models.get(model)
        if found is None:
            for cause in ("memory", "model"):
                self._tally.number(metrics.ROWS_FAILED, model, cause)  # known to be 0
            found = self._models[model] = (
                self._tally.number(metrics.AUDIO_RECOGNISED, model),
                self._tally.number(metrics.STEPS_LATE, model),
            )
        return found


def trace_step(
    tracing: Tracing, plan: StepPlan, model: str, traceparents: Sequence[str], now: float
) -> None:
    """Record the span of a step that has ended, unless none of its calls is traced."""
    traced = [parent for parent in traceparents if parent]
    if not traced or plan.lane is None:
        return
    attributes: dict[str, str | int] = {
        "siren.model": model,
        "siren.chunk_frames": plan.lane.chunk_frames,
        "siren.decoder": plan.lane.decoder.value,
        "siren.kind": plan.kind.value,
        "siren.rows": len(plan.rows),
    }
    try:
        tracing.record_step(traced, now - plan.began_at, attributes)
    except Exception:  # no defect of an exporter's ends the stepper
        _log.debug("a step could not be traced", exc_info=True)

"""One batch through a model, and what to do when it fails."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from siren_grpc.domain.errors import ModelError, SirenError
from siren_grpc.domain.model import Lane
from siren_grpc.domain.ports import ModelBackend, OutOfMemory
from siren_grpc.domain.step import StepResult, StepRow
from siren_grpc.scheduling.admission import no_memory


@dataclass(frozen=True, slots=True)
class BatchOutcome:
    """What a batch came to.

    found: one for each row. most_rows: the most rows that found memory, None if memory was no
    matter.
    """

    found: list[StepResult | Exception]
    most_rows: int | None = None


def step_batch(backend: ModelBackend, lane: Lane, rows: Sequence[StepRow]) -> BatchOutcome:
    """Step a batch; if it fails, step each row alone, so that only the guilty one fails.

    A batch too large for the memory is halved.
    """
    try:
        return BatchOutcome(list(backend.step(lane, rows)))
    except Exception as error:
        if len(rows) == 1:
            return BatchOutcome([error])
        is_too_large = isinstance(error, OutOfMemory)
    size = len(rows) // 2 if is_too_large else 1
    found: list[StepResult | Exception] = []
    most_rows = size if is_too_large else None
    for start in range(0, len(rows), size):
        part = step_batch(backend, lane, rows[start : start + size])
        found += part.found
        if part.most_rows is not None:
            most_rows = min(part.most_rows, most_rows or part.most_rows)
    return BatchOutcome(found, most_rows)


def error_of(cause: Exception) -> SirenError:
    """Return what the client is told of a failed step or reset; the cause is in the log."""
    if isinstance(cause, OutOfMemory):
        return no_memory()
    return ModelError(
        "recognition failed for this stream; the cause is in the server's log under "
        "the session id. Other streams go on; a new stream may well succeed"
    )

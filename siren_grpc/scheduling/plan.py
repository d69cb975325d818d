"""What a model does next: the scheduler's answer, and what it is told of a lane."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from siren_grpc.domain.model import Lane
from siren_grpc.domain.work import AudioWork, Marker

SessionId: TypeAlias = int
"""Never used twice in a process, so a late result cannot reach another session."""


@dataclass(frozen=True, slots=True)
class LaneLimits:
    """How a lane's work is batched.

    hertz: sample rate of its audio. batch_sizes: ascending; a step pads its rows to one of them,
    so rows up to the next size cost nothing more, and the last is the most rows of a step.
    """

    hertz: int
    batch_sizes: tuple[int, ...]


class StepKind(Enum):
    """Whose step it is. Recordings may also fill up a step of live chunks."""

    LIVE = "live"
    PREVIEWS = "previews"
    RECORDINGS = "recordings"


@dataclass(frozen=True, slots=True)
class StepPlan:
    """What to do next.

    markers: controls all of whose audio has been recognised, in each session's order; they cost
    no compute. rows: audio to advance in one batch, all of the lane, one row a session; empty
    when no audio is to be stepped now (lane is None then). wake_at: when to plan again although
    nothing new has come, in seconds of the caller's clock: a batch is waiting to fill. deadline:
    when the first of its chunks should have been recognised, by the same clock; None for previews
    and recordings, which are never late. began_at: when it was made. waits_s: of each live
    chunk that is not early, for how long it has been due; early ones have none.
    """

    markers: tuple[tuple[SessionId, Marker], ...]
    lane: Lane | None
    rows: tuple[tuple[SessionId, AudioWork], ...]
    wake_at: float | None = None
    deadline: float | None = None
    began_at: float = 0.0
    kind: StepKind = StepKind.LIVE
    waits_s: tuple[float, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do now."""
        return not self.markers and not self.rows

"""What front ends and the stepper tell each other. All of it can be pickled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from siren_grpc.domain.errors import SirenError
from siren_grpc.domain.model import DEFAULT_MODEL_OPTIONS, Lane, ModelOptions
from siren_grpc.domain.phrases import Phrases
from siren_grpc.domain.pickling import pickled_as_call
from siren_grpc.domain.principal import ANONYMOUS_CALLER, Caller
from siren_grpc.domain.readings import FrameSpan, Reading
from siren_grpc.domain.results import WordDetail
from siren_grpc.domain.step import StepResult
from siren_grpc.domain.work import AudioWork, Marker, Work
from siren_grpc.scheduling.plan import SessionId

_FRONT_END_SHIFT = 40


def first_session_id(front_end: int) -> SessionId:
    """Return the first of a front end's session ids; the following count up from it."""
    return front_end << _FRONT_END_SHIFT


def front_end_of(session_id: SessionId) -> int:
    """Return the number of the front end that a session belongs to."""
    return session_id >> _FRONT_END_SHIFT


@dataclass(frozen=True, slots=True)
class Open:
    """Give a session a slot; answered by `Opened` or `Refused`, when its phrases are ready.

    is_live: as for `Scheduler.add`. words: which results list their words. alternatives: how many
    other readings its finals list at most. caller: whose quota it counts against. traceparent: the
    span of its call, for those of its steps; empty for none.
    """

    session_id: SessionId
    lane: Lane
    options: ModelOptions = DEFAULT_MODEL_OPTIONS
    phrases: Phrases = ()
    is_live: bool = True
    words: WordDetail = WordDetail.NONE
    alternatives: int = 0
    caller: Caller = ANONYMOUS_CALLER
    traceparent: str = ""


@dataclass(frozen=True, slots=True)
class Search:
    """Find other readings of what a session heard; answered by `Found`, beside its steps."""

    session_id: SessionId
    span: FrameSpan


@dataclass(frozen=True, slots=True)
class Prepare:
    """Get phrases ready that a running session is to use; answered by `Prepared`.

    When they were, the session pushes `UsePhrases`, which changes to them in-band.
    """

    session_id: SessionId
    phrases: Phrases


@pickled_as_call
@dataclass(frozen=True, slots=True)
class Push:
    """Queue work of a session. received_at: when it came, by `time.monotonic`."""

    session_id: SessionId
    work: Work
    received_at: float


@dataclass(frozen=True, slots=True)
class Close:
    """Drop a session's work and free its slot; harmless for one that has none."""

    session_id: SessionId


Message: TypeAlias = Open | Prepare | Push | Search | Close
"""From a front end to the stepper."""


@dataclass(frozen=True, slots=True)
class Opened:
    """The session has a slot."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The session has no slot, and will have none."""

    error: SirenError


@dataclass(frozen=True, slots=True)
class Prepared:
    """The session's phrases are ready; with an error it cannot have them, and goes on as it was."""

    error: SirenError | None


@dataclass(frozen=True, slots=True)
class Found:
    """What a search found, the likeliest reading first; nothing where the frames were gone."""

    readings: tuple[Reading, ...]


@pickled_as_call
@dataclass(frozen=True, slots=True)
class Recognised:
    """A chunk or preview, and what its step found. step_s: how long that took, mates and all."""

    work: AudioWork
    result: StepResult
    step_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Failed:
    """A chunk or preview whose step failed; nothing of the session follows.

    error: what its client is told. The cause is in the log.
    """

    work: AudioWork
    error: SirenError


@dataclass(frozen=True, slots=True)
class Notice:
    """The session should end, with this error, when what it has heard has its final."""

    error: SirenError


Outcome: TypeAlias = Opened | Refused | Prepared | Found | Notice | Recognised | Failed | Marker


@pickled_as_call
@dataclass(frozen=True, slots=True)
class Delivery:
    """What one plan means for one session."""

    session_id: SessionId
    outcome: Outcome

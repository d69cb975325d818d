"""What the engine's process asks its front ends, and what they answer.

Each question has a number, which its answer repeats. `Pulse` comes once a second and takes the
load of the whole server along; the others when somebody wants to know.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

from siren_grpc.observe.instruments import Snapshot


@dataclass(frozen=True, slots=True)
class ServerLoad:
    """How busy the server is, all of its processes together. Shares are from 0 to 1.

    n_active, n_slots: sessions of all models, and room for them. sessions: share of the slots
    taken, of the model that has the largest. steps: share of the last seconds spent in steps.
    processor: share of the cores. memory: of the device's memory, or without one of the machine's.
    calls_per_s, errors_per_s: begun, and ended with an error.
    """

    n_active: int
    n_slots: int
    sessions: float
    steps: float
    processor: float
    memory: float
    calls_per_s: float
    errors_per_s: float

    @property
    def utilization(self) -> float:
        """How near the server is to its limit: by sessions, or by time."""
        return max(self.sessions, self.steps)


@dataclass(frozen=True, slots=True)
class Pulse:
    """Asks for a `Report`."""

    load: ServerLoad


@dataclass(frozen=True, slots=True)
class Report:
    """What a front end has counted so far. n_calls: begun."""

    numbers: Snapshot
    n_calls: int


@dataclass(frozen=True, slots=True)
class ListSessions:
    """Asks for a tuple of `SessionRow`."""


@dataclass(frozen=True, slots=True)
class SessionRow:
    """One live stream or recording. Times are Unix times, lengths are in seconds.

    processed_s: audio recognised. waiting_s: for how long the oldest chunk has waited. is_parked:
    its call broke and its client may come back.
    """

    session_id: str
    request_id: str
    model: str
    chunk_frames: int
    decoder: str
    is_live: bool
    is_parked: bool
    started_at: float
    received_s: float
    processed_s: float
    waiting_s: float
    peer: str
    principal: str


@dataclass(frozen=True, slots=True)
class EndSession:
    """Asks to end a stream with its final and SHUTTING_DOWN; answered by whether it was there."""

    session_id: str


@dataclass(frozen=True, slots=True)
class TakeCensus:
    """Asks for a `census.Census`: what the process holds at this moment."""


@dataclass(frozen=True, slots=True)
class Ping:
    """Asks for None: whether the event loop turns."""


Question: TypeAlias = Pulse | ListSessions | EndSession | TakeCensus | Ping


@dataclass(frozen=True, slots=True)
class Ask:
    """A question."""

    number: int
    question: Question


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to the question of this number."""

    number: int
    answer: Any

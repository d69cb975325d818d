"""What the engine benchmark compares: ways to advance the same streams, chunk by chunk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from time import perf_counter, process_time
from typing import Protocol

from siren_grpc.domain.work import Samples


@dataclass(frozen=True, slots=True)
class Streams:
    """Audio of one run: every contestant hears all of it.

    samples: one [n_samples] per stream, all equally long: at least n_steps + 2 chunks, the end
    silent. n_steps: timed steps; what is left is for `finish`.
    """

    samples: Sequence[Samples]
    n_steps: int


class Contestant(Protocol):
    """One way to recognise a batch of streams."""

    @property
    def name(self) -> str:
        """Short name in tables and JSON."""
        ...

    def open(self, streams: Streams) -> None:
        """Start new streams and prepare their input; not timed."""
        ...

    def step(self) -> None:
        """Advance every stream by one chunk; timed. Called n_steps times after `open`."""
        ...

    def finish(self) -> list[str]:
        """Recognise the rest, close the streams and return their texts; not timed."""
        ...

    def session_bytes(self) -> int | None:
        """Bytes of tensors kept for each stream; None when there is no telling."""
        ...


@dataclass(slots=True)
class Timings:
    """The measured steps of a contestant, in seconds, in order; cpu_s sums all threads."""

    wall_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    turns_s: list[float] = field(default_factory=list)
    """Mean step of each turn: what is paired with the others' turns of the same round."""

    def take_turn(self, contestant: Contestant, n_steps: int) -> None:
        """Let a contestant make some steps and note what each took."""
        for _ in range(n_steps):
            cpu, wall = process_time(), perf_counter()
            contestant.step()
            self.wall_s.append(perf_counter() - wall)
            self.cpu_s.append(process_time() - cpu)
        self.turns_s.append(sum(self.wall_s[-n_steps:]) / n_steps)


def turn_order(names: Sequence[str], round_number: int) -> list[str]:
    """Return whose turn comes when in a round: each round begins with the next contestant.

    So nobody always runs behind the same neighbour, whose caches it would find.
    """
    first = round_number % len(names)
    return [*names[first:], *names[:first]]

"""What the engine needs of a model, in numpy and ints only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from siren_grpc.domain.types import Lane, ModelInfo, ModelOptions, StepResult, StepRow


class OutOfMemory(Exception):
    """A step needs more memory than its device has free; fewer rows may do."""


class ModelBackend(Protocol):
    """A loaded model with one slot of recognition state per session.

    Threads may step and reset different slots at once; never the same slot. A `step` that raises
    has changed no slot, so its rows may be tried again one by one.
    """

    @property
    def info(self) -> ModelInfo:
        """What the model is and offers."""
        ...

    @property
    def n_slots(self) -> int:
        """How many sessions it holds at once; slots are 0 to n_slots - 1."""
        ...

    @property
    def batch_sizes(self) -> tuple[int, ...]:
        """The sizes, ascending, to one of which a step pads its rows; the last is the most."""
        ...

    @property
    def n_parallel(self) -> int:
        """How many steps at once are worth it on its device."""
        ...

    def open_slot(self, slot: int, options: ModelOptions) -> None:
        """Give the slot to a new stream, which has heard nothing.

        Raises InvalidConfig for options the model does not offer; the slot is nobody's then.
        """
        ...

    def reset_slot(self, slot: int) -> None:
        """Make the slot's state that of a stream that has heard nothing; its options stay."""
        ...

    def step(self, lane: Lane, rows: Sequence[StepRow]) -> list[StepResult]:
        """Recognise every row's audio and keep the state of those whose work is a `Chunk`.

        rows: 1 to the largest batch size, distinct slots, all of the lane. Returns one result
        per row, in order. Raises OutOfMemory, or whatever the model raises, leaving every slot as
        it was.
        """
        ...

"""What the engine needs of a model, in numpy and ints only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from siren_grpc.domain.model import DecoderKind, Lane, ModelInfo, ModelOptions
from siren_grpc.domain.phrases import Phrases
from siren_grpc.domain.readings import FrameSpan, Reading
from siren_grpc.domain.step import StepResult, StepRow


class OutOfMemory(Exception):
    """A step, or a slot's state, needs more memory than the device has free; fewer rows may do."""


class PhraseTree(Protocol):
    """A list of phrases as a model looks for them; not on its device yet."""


class PhraseTrees(Protocol):
    """Phrases of a model's slots. Only `build` may be called from any thread, at any time.

    The others belong to the thread that resets slots.
    """

    def build(self, phrases: Phrases) -> PhraseTree:
        """Make a tree of phrases; it may take a tenth of a second.

        Raises InvalidConfig naming the index of a phrase that the model cannot write.
        """
        ...

    def load(self, tree: PhraseTree) -> int | None:
        """Put a tree on the model's device and return its number; None when there is no room."""
        ...

    def unload(self, tree_id: int) -> None:
        """Free the room of a tree that no slot uses."""
        ...

    def use(self, slot: int, tree_id: int | None) -> None:
        """Let a slot that is not being stepped look for a tree's phrases from now on, or for none.

        A reset of the slot leaves it its tree.
        """
        ...


class EncodedFrames(Protocol):
    """Encoder frames of one session, on the model's device."""


class Readings(Protocol):
    """Other readings of what a model's slots heard. Only `search` may be called from any thread.

    The others belong to the thread that resets slots.
    """

    def take(self, slot: int, span: FrameSpan) -> EncodedFrames | None:
        """Return frames of a slot's rows with `keeps_frames`, and forget those before their end.

        None when they are not all there any more, or none: a minute is kept.
        """
        ...

    def search(self, decoder: DecoderKind, frames: EncodedFrames, most: int) -> list[Reading]:
        """Return the likeliest readings of frames, the best first, and `most` others at most.

        It may take a tenth of a second. Searches run one at a time.
        """
        ...

    def clear(self, slot: int) -> None:
        """Forget a slot's frames: its session is over."""
        ...


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

    @property
    def step_seconds(self) -> Mapping[Lane, Mapping[int, float]]:
        """What steps take alone, in seconds by rows, of lanes for which that was measured.

        Lanes without the model's name; of each the smallest and the largest batch at least.
        """
        ...

    def open_slot(self, slot: int, options: ModelOptions) -> None:
        """Give the slot to a new stream, which has heard nothing.

        Raises InvalidConfig for options the model does not offer, or OutOfMemory; the slot is
        nobody's then, and may be opened again.
        """

    @property
    def phrase_trees(self) -> PhraseTrees | None:
        """What makes it listen for phrases; None for a model that cannot."""
        ...

    @property
    def readings(self) -> Readings | None:
        """What reads utterances again; None for a model that cannot."""
        ...

    def reset_slot(self, slot: int) -> None:
        """Make the slot's state that of a stream that has heard nothing; its options stay.

        Raises OutOfMemory: then its state is nothing to step on, until `open_slot`.
        """
        ...

    def step(self, lane: Lane, rows: Sequence[StepRow]) -> list[StepResult]:
        """Recognise every row's audio and keep the state of those whose work is a `Chunk`.

        rows: 1 to the largest batch size, distinct slots, all of the lane. Returns one result
        per row, in order. Raises OutOfMemory, or whatever the model raises, leaving every slot as
        it was.
        """
        ...

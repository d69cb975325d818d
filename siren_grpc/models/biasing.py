"""Phrases that sessions listen for: a boosting tree for each list, and a list for each slot.

In a greedy decoder the tree never turns a blank into a token or back, only one token into another;
CTC's blanks within a phrase apart (`ctc_phrases`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from siren_grpc.domain.errors import InvalidConfig
from siren_grpc.domain.phrases import Phrases
from siren_grpc.domain.ports import OutOfMemory, PhraseTree
from siren_grpc.models.memory import telling_out_of_memory
from siren_grpc.models.phrase_arena import PhraseArena
from siren_grpc.models.phrase_tree import BoostingTree, Spelled, grow
from siren_grpc.models.spelling import Speller

_NO_TREE = -1


@dataclass(frozen=True, slots=True)
class RowTrees:
    """The trees of a batch, of which at least one row has one.

    ids: [n_rows] int64, -1 for rows without. rows: [n_with] int64, those with one.
    """

    ids: torch.Tensor
    rows: torch.Tensor


class SlotPhrases:
    """The phrase trees of a model and which of them each slot uses."""

    def __init__(
        self, speller: Speller, vocabulary_size: int, *, n_slots: int, device: torch.device
    ) -> None:
        """Start without phrases. vocabulary_size: token ids of the model, the blank not counted."""
        self._speller = speller
        self._vocabulary_size = vocabulary_size
        self._device = device
        self._arena: PhraseArena | None = None
        self._trees: dict[int, int] = {}
        """Of the slots that use one."""
        self.states = torch.zeros(n_slots, dtype=torch.int64, device=device)
        """Where in its tree each slot is: how much of which phrase it has just written."""

    @property
    def device(self) -> torch.device:
        """Where the trees are."""
        return self._device

    @property
    def arena(self) -> PhraseArena:
        """The trees that are loaded. It is made when the first one is."""
        if self._arena is None:
            self._arena = PhraseArena(self._vocabulary_size, self._device)
        return self._arena

    def build(self, phrases: Phrases) -> BoostingTree:
        """Make a tree of phrases.

        Raises InvalidConfig naming the index of a phrase that the vocabulary cannot write.
        """
        spelled: list[Spelled] = []
        for index, phrase in enumerate(phrases):
            try:
                spellings = self._speller.spell(phrase.text)
            except ValueError as error:
                raise InvalidConfig.of_field(
                    f"biasing.phrases[{index}].text",
                    f"{error}, so it never comes up with {phrase.text!r}; spell it with the "
                    "letters the model has (numbers and symbols as they are spoken) or leave it "
                    "out",
                ) from error
            spelled += [(phrase.boost, ids) for ids in spellings]
        return grow(spelled, self._vocabulary_size)

    def load(self, tree: PhraseTree) -> int | None:
        """Put a tree on the device and return its number; None when there is no room."""
        if not isinstance(tree, BoostingTree):
            raise AssertionError("a tree of another model")
        try:
            with telling_out_of_memory():
                return self.arena.add(tree)
        except (MemoryError, OutOfMemory):
            return None

    def unload(self, tree_id: int) -> None:
        """Free the room of a tree that no slot uses."""
        self.arena.remove(tree_id)

    def use(self, slot: int, tree_id: int | None) -> None:
        """Let a slot that is not being stepped look for a tree's phrases, or for none."""
        if tree_id is None:
            self._trees.pop(slot, None)
        else:
            self._trees[slot] = tree_id
        self.restart(slot)

    def restart(self, slot: int) -> None:
        """Make a slot look for the beginnings of its phrases."""
        self.states[slot] = PhraseArena.START_STATE

    def trees_of(self, slots: Sequence[int], *, n_rows: int) -> RowTrees | None:
        """Return the trees of a batch's slots, padded to n_rows; None if none of them has one."""
        rows = [row for row, slot in enumerate(slots) if slot in self._trees]
        if not rows:
            return None
        ids = [self._trees.get(slot, _NO_TREE) for slot in slots]
        ids += [_NO_TREE] * (n_rows - len(slots))
        return RowTrees(
            torch.tensor(ids, device=self._device), torch.tensor(rows, device=self._device)
        )

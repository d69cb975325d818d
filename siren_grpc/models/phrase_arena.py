"""Memory on the model's device for the phrase trees of all sessions, as one model to query."""

from __future__ import annotations

import logging
from functools import cache
from typing import Any

import numpy as np
import torch
from nemo.collections.asr.parts.context_biasing.biasing_multi_model import GPUBiasingMultiModel
from nemo.core.utils.optional_libs import TRITON_AVAILABLE

from siren_grpc.models.phrase_tree import BoostingTree

_log = logging.getLogger(__name__)
MAX_TREES = 1024
_ROOM_STATES = _ROOM_ARCS = 1 << 20


class PhraseArena(GPUBiasingMultiModel):
    """NeMo's model of many boosting trees, with memory that neither grows nor moves.

    NeMo's own grows when it is full, which captures the decoder's CUDA graphs anew while every
    stream waits, and closes the gap of a removed tree by moving the others, which steps that run
    meanwhile would see. This one has room for a fixed number of trees, states and arcs, and fills
    gaps first-fit. On a CPU the system gives it memory only as it is used.
    """

    INIT_NUM_ARCS = INIT_NUM_STATES = 1  # made here, below
    INIT_NUM_MODELS = MAX_TREES

    def __init__(
        self,
        vocabulary_size: int,
        device: torch.device,
        *,
        room_states: int = _ROOM_STATES,
        room_arcs: int = _ROOM_ARCS,
    ) -> None:
        """Set the memory aside. vocabulary_size: token ids, the blank not counted."""
        super().__init__(vocab_size=vocabulary_size, use_triton=can_use_triton(device))
        self._arcs = _Room(room_arcs)
        self._states = _Room(room_states)
        # The inherited query looks at as many arcs behind a state's first as there are tokens.
        for name, shape, dtype in (
            ("all_arcs_weights", (room_arcs + vocabulary_size,), np.float32),
            ("all_to_states", (room_arcs + vocabulary_size,), np.int64),
            ("all_ilabels", (room_arcs + vocabulary_size,), np.int64),
            ("all_start_end_arcs", (room_states, 2), np.int64),
            ("all_state_order", (room_states,), np.int64),
            ("all_backoff_to_states", (room_states,), np.int64),
            ("all_backoff_weights", (room_states,), np.float32),
        ):
            # Pages of numpy's zeros are taken from the system when they are written.
            getattr(self, name).data = torch.from_numpy(np.zeros(shape, dtype)).to(device)
        for name in (
            "model2alpha",
            "model2states_offset",
            "model2arcs_offset",
        ):
            getattr(self, name).data = getattr(self, name).data.to(device)
        self.requires_grad_(False)
        self.eval()
        self._used: dict[int, tuple[int, int, int, int]] = {}
        """Of each tree: where its states and arcs begin, and how many there are."""

    def add(self, tree: BoostingTree) -> int:
        """Put a tree in and return its number. Raises MemoryError when there is no room."""
        tree_id = next((i for i in range(MAX_TREES) if i not in self._used), None)
        if tree_id is None:
            raise MemoryError(f"{MAX_TREES} trees are loaded")
        n_states, n_arcs = len(tree.depths), len(tree.arc_tokens)
        states = self._states.take(n_states)
        try:
            arcs = self._arcs.take(n_arcs)
        except MemoryError:
            self._states.free(states, n_states)
            raise
        self._used[tree_id] = (states, n_states, arcs, n_arcs)
        try:
            self._write(tree_id, tree)
        except BaseException:  # the device's memory may be at its end
            self.remove(tree_id)
            raise
        return tree_id

    def _write(self, tree_id: int, tree: BoostingTree) -> None:
        states, n_states, arcs, n_arcs = self._used[tree_id]
        at_states, at_arcs = slice(states, states + n_states), slice(arcs, arcs + n_arcs)
        for kept, at, values in (
            (self.all_arcs_weights.data, at_arcs, tree.arc_scores),
            (self.all_to_states, at_arcs, tree.arc_targets),
            (self.all_ilabels, at_arcs, tree.arc_tokens),
            (self.all_start_end_arcs, at_states, tree.arcs_of),
            (self.all_state_order, at_states, tree.depths),
            (self.all_backoff_to_states, at_states, tree.fallbacks),
        ):
            kept[at].copy_(torch.from_numpy(values))
        self.model2states_offset[tree_id] = states
        self.model2arcs_offset[tree_id] = arcs
        self.model2alpha[tree_id] = 1.0

    def remove(self, tree_id: int) -> None:
        """Free the room of a tree; what lies in it stays until another tree takes it."""
        states, n_states, arcs, n_arcs = self._used.pop(tree_id)
        self._states.free(states, n_states)
        self._arcs.free(arcs, n_arcs)

    def has_models(self) -> bool:
        """Whether any tree is in."""
        return bool(self._used)

    def depth(self, states: torch.Tensor, tree_ids: torch.Tensor) -> torch.Tensor:
        """Return how many tokens of a phrase each state stands for. All [n_rows] int64."""
        return self.all_state_order[states + self.model2states_offset[tree_ids]]

    @property
    def device(self) -> torch.device:
        """Where it is."""
        return self.model2alpha.device

    def to(self, *_: Any, **__: Any) -> PhraseArena:
        """Stay: NeMo's decoders ask at each step, also several at once."""
        return self


@cache
def can_use_triton(device: torch.device) -> bool:
    """Return whether Triton can ask the trees on a device.

    It builds a launcher with a C compiler first, in a folder it may write to: an image may have
    neither, though Triton is installed.
    """
    if device.type != "cuda" or not TRITON_AVAILABLE:
        return False
    try:
        from triton.runtime import driver

        driver.active.utils  # noqa: B018  (builds it)
    except Exception as error:
        _log.warning("Triton cannot be used, phrases will be slower: %s", error)
        return False
    return True


class _Room:
    """Gaps of a stretch of memory, taken first-fit."""

    def __init__(self, size: int) -> None:
        self._gaps = [(0, size)]

    def take(self, size: int) -> int:
        """Return where a free stretch begins. Raises MemoryError when there is none so long."""
        for i, (start, length) in enumerate(self._gaps):
            if length >= size:
                self._gaps[i : i + 1] = [(start + size, length - size)] if length > size else []
                return start
        raise MemoryError(f"no gap of {size}")

    def free(self, start: int, size: int) -> None:
        """Give a stretch back."""
        gaps: list[tuple[int, int]] = []
        for gap in sorted([*self._gaps, (start, size)]):
            if gaps and sum(gaps[-1]) == gap[0]:
                gaps[-1] = (gaps[-1][0], gaps[-1][1] + gap[1])
            else:
                gaps.append(gap)
        self._gaps = gaps

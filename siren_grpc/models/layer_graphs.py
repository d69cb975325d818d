"""An encoder's layers as CUDA graphs: a step of theirs is one launch, not a thousand.

On a GPU a step of few rows takes as long as its kernels take to be launched. A graph is recorded
for each shape of step at its first, which is while a model warms up, and replayed from then on
(https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch

Step: TypeAlias = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""`ConformerLayers.step`: slots, frames and lengths to encoded frames; it reads nothing back."""
Record: TypeAlias = Callable[[Callable[[], torch.Tensor]], tuple[torch.Tensor, Callable[[], None]]]
"""Record what a function launches; return the tensor it gave, and what launches it all again.

A replay fills the same tensor anew, from whatever the function's inputs hold by then.
"""
_Inputs: TypeAlias = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
_TOLERANCE = 1e-2
"""How far a replay may be off the step it stands for: other kernels may round bf16 otherwise."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Recorded:
    """A step of one shape: what it reads, what it fills, and what launches it."""

    inputs: _Inputs
    encoded: torch.Tensor
    replay: Callable[[], None]

    def step(self, *inputs: torch.Tensor) -> torch.Tensor:
        for ours, theirs in zip(self.inputs, inputs, strict=True):
            ours.copy_(theirs)
        self.replay()
        return self.encoded.clone()  # the next replay fills it anew


class GraphedStep:
    """A step of an encoder's layers that is recorded once for each shape, and then replayed.

    One thread may call it at a time. Each recording is tried before it is used: one that cannot be
    made, or gives something else than the step, leaves all steps unrecorded, with a warning.
    """

    def __init__(self, step: Step, record: Record) -> None:
        """Stand for a step."""
        self._step = step
        self._record: Record | None = record
        self._recorded: dict[torch.Size, _Recorded] = {}

    def __call__(
        self, slots: torch.Tensor, frames: torch.Tensor, lengths: torch.Tensor
    ) -> torch.Tensor:
        """Encode a chunk of each row: arguments, result and errors are the step's."""
        recorded = self._recorded.get(frames.shape)
        if recorded is not None:
            return recorded.step(slots, frames, lengths)
        encoded = self._step(slots, frames, lengths)
        if self._record is not None:
            self._try_to_record(self._record, (slots, frames, lengths), encoded)
        return encoded

    def _try_to_record(self, record: Record, inputs: _Inputs, encoded: torch.Tensor) -> None:
        slots, frames, lengths = inputs
        try:
            # Recorded with other frames: a replay that did not read them anew would be found out.
            held = slots.clone(), torch.zeros_like(frames), lengths.clone()
            recorded = _Recorded(held, *record(lambda: self._step(*held)))
            off = float((recorded.step(*inputs) - encoded).abs().max())
        except RuntimeError as error:  # of CUDA, out of memory too
            self._give_up(frames.shape, str(error))
            return
        if off <= _TOLERANCE * float(encoded.abs().max()):
            self._recorded[frames.shape] = recorded
        else:  # also of what is not a number
            self._give_up(frames.shape, f"a replay was off by {off:.3g}")

    def _give_up(self, shape: torch.Size, why: str) -> None:
        self._record = None
        self._recorded.clear()
        _log.warning(
            "no CUDA graphs of the encoder's layers: that of %d rows of %d frames failed (%s)",
            *shape[:2],
            why,
        )


class GpuRecorder:
    """Records CUDA graphs, which share their memory: no two of them may be replayed at once."""

    def __init__(self, device: torch.device) -> None:
        """Record what is launched on a GPU, which is the calling thread's own."""
        self._pool = torch.cuda.graph_pool_handle()
        self._stream = torch.cuda.Stream(device)

    def __call__(self, body: Callable[[], torch.Tensor]) -> tuple[torch.Tensor, Callable[[], None]]:
        """Record a function. Raises RuntimeError when CUDA does."""
        graph = torch.cuda.CUDAGraph()
        current = torch.cuda.current_stream()
        self._stream.wait_stream(current)
        try:
            with torch.cuda.stream(self._stream):
                body()  # a library's first call on a stream allocates what a graph must not
            # Of this thread only: other models' go on meanwhile.
            with torch.cuda.graph(
                graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"
            ):
                made = body()
        finally:
            torch.cuda.set_stream(current)  # which a capture that fails does not do
            current.wait_stream(self._stream)
        return made, graph.replay

"""A backend that does arithmetic and claims no recognition.

Each chunk yields tokens computed from everything its slot has heard since it was reset, and from
the language it was opened with, so that a state mixed up, leaked to the slot's next tenant or kept
from a preview shows in the text.
"""

from __future__ import annotations

import math
import threading
import zlib
from collections.abc import Mapping, Sequence

from siren_grpc.domain.errors import InvalidConfig
from siren_grpc.domain.model import DecoderKind, Lane, ModelInfo, ModelOptions
from siren_grpc.domain.ports import OutOfMemory
from siren_grpc.domain.readings import FrameSpan, Reading
from siren_grpc.domain.step import StepResult, StepRow
from siren_grpc.domain.work import Chunk
from tests.support.builders import make_info

POISON = 9.0
"""A chunk whose first sample is this makes the step raise."""


class ArithmeticReadings:
    """Reads tokens backwards; `gate`, when given, must be set for a search to go on."""

    def __init__(self, n_slots: int) -> None:
        self.heard: list[list[tuple[int, int, int]]] = [[] for _ in range(n_slots)]
        self.state = [0] * n_slots
        self.gate: threading.Event | None = None
        self.fails = False

    def take(self, slot: int, span: FrameSpan) -> tuple[int, ...] | None:
        behind = float("inf") if span.behind is None else span.behind
        return tuple(
            token
            for state, frame, token in self.heard[slot]
            if state == span.state and span.first <= frame < behind
        )

    def push(self, slot: int, chunk: int, tokens: tuple[int, ...]) -> None:
        self.heard[slot] += [(self.state[slot], chunk, token) for token in tokens]

    def search(self, decoder: DecoderKind, frames: tuple[int, ...], most: int) -> list[Reading]:
        if self.gate is not None:
            self.gate.wait()
        if self.fails:
            raise RuntimeError("no beam")
        likeliest = Reading(frames, math.log(0.75))
        return [likeliest, Reading(frames[::-1], math.log(0.25))][: most + 1]

    def clear(self, slot: int) -> None:
        self.heard[slot] = []
        self.state[slot] = 0


class ArithmeticBackend:
    """Steps checksums. `gate`, when given, must be set for a step to go on."""

    def __init__(
        self,
        *,
        n_slots: int = 4,
        max_batch: int = 3,
        gate: threading.Event | None = None,
        name: str = "test-model",
        n_parallel: int = 1,
    ) -> None:
        self.n_parallel = n_parallel
        self._name = name
        self._state = [0] * n_slots
        self._frames = [0] * n_slots
        self._fresh = [0] * n_slots
        self._n_slots = n_slots
        self._max_batch = max_batch
        self._gate = gate
        self.is_waiting = threading.Event()  # a step has come to the gate
        self.largest_batch = 0
        self.n_tried: list[int] = []  # rows of each step, also where they found no memory
        self.most_rows: int | None = None  # more than these find no memory
        self.no_memory_in: set[int] = set()  # slots that cannot be reset for want of memory
        self.dies = False
        self._readings = ArithmeticReadings(n_slots)

    @property
    def info(self) -> ModelInfo:
        return make_info(id=self._name, look_aheads=(2, 7), default_chunk_frames=2)

    @property
    def n_slots(self) -> int:
        return self._n_slots

    @property
    def step_seconds(self) -> Mapping[Lane, Mapping[int, float]]:
        return {}

    @property
    def batch_sizes(self) -> tuple[int, ...]:
        return tuple(range(1, self._max_batch + 1))

    @property
    def phrase_trees(self) -> None:
        return None

    @property
    def readings(self) -> ArithmeticReadings:
        return self._readings

    def open_gate(self) -> None:
        """Let the steps that wait go on, so that the engine can be stopped."""
        if self._gate is not None:
            self._gate.set()

    def open_slot(self, slot: int, options: ModelOptions) -> None:
        if options.language_code not in ("", *self.info.language_codes):
            raise InvalidConfig.of_field("language_code", "use en, de-DE")
        self._fresh[slot] = zlib.crc32(options.language_code.encode())
        self.reset_slot(slot)
        self._readings.clear(slot)

    def reset_slot(self, slot: int) -> None:
        if self.dies:
            raise RuntimeError("the device is gone")
        if slot in self.no_memory_in:
            raise OutOfMemory(f"no memory to reset slot {slot}")
        self._state[slot] = self._fresh[slot]
        self._frames[slot] = 0
        self._readings.state[slot] += 1

    def step(self, lane: Lane, rows: Sequence[StepRow]) -> list[StepResult]:
        self.is_waiting.set()
        if self._gate is not None and not self._gate.wait(60):
            raise TimeoutError("the test never opened the gate")
        if any(len(row.work.samples) and row.work.samples[0] == POISON for row in rows):
            raise ValueError("poisoned")
        self.n_tried.append(len(rows))
        if self.most_rows is not None and len(rows) > self.most_rows:
            raise OutOfMemory(f"no memory for {len(rows)} rows")
        self.largest_batch = max(self.largest_batch, len(rows))
        states = [zlib.crc32(row.work.samples.tobytes(), self._state[row.slot]) for row in rows]
        results = []
        for row, state in zip(rows, states, strict=True):
            result = StepResult((26 + state % 26, state // 26 % 26), (0, 0))
            if isinstance(row.work, Chunk):
                self._state[row.slot] = state
                if row.keeps_frames:
                    self._readings.push(row.slot, self._frames[row.slot], result.tokens)
                self._frames[row.slot] += 1
            results.append(result)
        return results

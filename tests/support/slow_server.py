"""`siren` whose models take as long as a test says, and recognise nothing.

`python -m tests.support.slow_server serve ...`. From the environment: SLOW_STEP_MS, SLOW_ROW_MS, of
a step and of each of its rows; SLOW_BLOCK, a file: while it is there, steps do not end; SLOW_LOAD
likewise, of models; SLOW_DEATH: from when on it is there, whatever ends an utterance ends the
stepper. What cannot be had here otherwise: a device at its limit although the machine is not, and
one that hangs or fails.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from siren_grpc.cli import serve_command
from siren_grpc.cli.models import ModelLoader
from siren_grpc.domain.model import Lane
from siren_grpc.domain.step import StepResult, StepRow
from tests.support.arithmetic_backend import ArithmeticBackend

PROGRAM = (sys.executable, "-m", "tests.support.slow_server")


class SlowBackend(ArithmeticBackend):
    """Takes its time."""

    @property
    def step_seconds(self) -> Mapping[Lane, Mapping[int, float]]:
        """What a warm-up would measure."""
        alone_s = {size: _seconds(size) for size in self.batch_sizes}
        info = self.info
        return {
            Lane(frames, decoder): alone_s
            for frames in info.look_aheads
            for decoder in info.decoders
        }

    def step(self, lane: Lane, rows: Sequence[StepRow]) -> list[StepResult]:
        """See `ModelBackend`."""
        while _is_there("SLOW_BLOCK"):
            time.sleep(0.01)
        time.sleep(_seconds(len(rows)))
        return super().step(lane, rows)

    def reset_slot(self, slot: int) -> None:
        """See `ModelBackend`."""
        self.dies = _is_there("SLOW_DEATH")
        super().reset_slot(slot)


class SlowLoader(ModelLoader):
    """Loads slow backends, which are none of a checkpoint's."""

    def load(self, name: str) -> SlowBackend:  # type: ignore[override]
        """See `ModelLoader`."""
        print(f"loading {name}", file=sys.stderr, flush=True)
        while _is_there("SLOW_LOAD"):
            time.sleep(0.01)
        n_slots, max_batch = self._settings.max_sessions, self._settings.max_batch or 8
        return SlowBackend(n_slots=n_slots, max_batch=max_batch, name=Path(name).stem)


def _seconds(n_rows: int) -> float:
    """Return how long a step takes."""
    step_ms, row_ms = (float(os.environ.get(f"SLOW_{of}_MS", "0")) for of in ("STEP", "ROW"))
    return (step_ms + row_ms * n_rows) / 1000


def _is_there(variable: str) -> bool:
    file = os.environ.get(variable)
    return file is not None and Path(file).exists()


if __name__ == "__main__":
    from siren_client.cli import main

    serve_command.ModelLoader = SlowLoader
    main()

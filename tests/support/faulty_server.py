"""`siren serve` on a device that fails: a step with a chunk that begins with POISON raises.

A test double for the fault alone; everything else is the server and the model as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

POISON = 0.8671875
"""Exact in float32, and on no recording's first sample."""


def main() -> None:
    """Run `siren` with the backend's step replaced."""
    from siren_client.cli import main as siren
    from siren_grpc.models.nemo_backend import NemoBackend

    step = NemoBackend.step

    def failing_step(self: NemoBackend, lane: Any, rows: Sequence[Any]) -> Any:
        if any(np.any(row.work.samples == np.float32(POISON)) for row in rows):
            raise RuntimeError("CUDA error: device-side assert triggered")
        return step(self, lane, rows)

    NemoBackend.step = failing_step  # type: ignore[method-assign]
    siren()


if __name__ == "__main__":
    main()

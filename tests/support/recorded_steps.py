"""What stands for a CUDA graph where there is no GPU: the same calls again, the same tensor."""

from __future__ import annotations

from collections.abc import Callable

import torch


class CpuRecorder:
    """Records a function as a GPU would: what it launches reads the inputs it had then."""

    def __init__(self) -> None:
        self.n_recorded = 0
        self.n_replayed = 0

    def __call__(self, body: Callable[[], torch.Tensor]) -> tuple[torch.Tensor, Callable[[], None]]:
        made = body()
        self.n_recorded += 1

        def replay() -> None:
            self.n_replayed += 1
            made.copy_(body())

        return made, replay

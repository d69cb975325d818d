"""What every loaded model is to the code that starts it, whichever way it streams."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from siren_grpc.domain.model import Lane
from siren_grpc.domain.ports import ModelBackend


class LoadedBackend(ModelBackend, Protocol):
    """A backend whose batch sizes are still to be chosen and warmed up."""

    threads: int | None
    """CPU threads of a step; None for torch's own choice."""

    @property
    def batch_sizes(self) -> tuple[int, ...]:
        """The sizes, ascending, to one of which a step pads its rows; the last is the most."""
        ...

    @batch_sizes.setter
    def batch_sizes(self, sizes: tuple[int, ...]) -> None: ...

    @property
    def n_parallel(self) -> int:
        """How many steps at once are worth it on its device."""
        ...

    @n_parallel.setter
    def n_parallel(self, count: int) -> None: ...

    @property
    def step_seconds(self) -> Mapping[Lane, Mapping[int, float]]:
        """What steps take alone, as `ModelBackend` says; `warm_up` measures it."""
        ...

    @step_seconds.setter
    def step_seconds(self, seconds: Mapping[Lane, Mapping[int, float]]) -> None: ...

    @property
    def bytes_per_slot(self) -> int:
        """Memory that one session's state takes on the device."""
        ...

    @property
    def is_on_gpu(self) -> bool:
        """Whether it steps on a GPU."""
        ...

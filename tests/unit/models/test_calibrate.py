from __future__ import annotations

from itertools import pairwise

import pytest

from siren_grpc.domain.ports import StepsAtOnce
from siren_grpc.models.calibrate import calibrate, sizes_up_to
from tests.support.arithmetic_backend import ArithmeticBackend


@pytest.mark.parametrize("largest", [1, 2, 3, 5, 7, 16, 48, 64, 200, 256])
def test_batch_sizes_rise_by_a_quarter_at_most_and_end_at_the_largest(largest: int) -> None:
    sizes = sizes_up_to(largest)
    assert sizes[0] == 1
    assert sizes[-1] == largest
    assert all(small < large <= max(small + 1, 1.25 * small) for small, large in pairwise(sizes))


@pytest.mark.parametrize(
    ("n_cores", "threads", "n_front_ends", "parallel_steps", "steps"),
    [
        (1, 1, 1, 0, StepsAtOnce(1, 1)),
        (2, 1, 1, 0, StepsAtOnce(1, 2)),
        (2, 2, 1, 0, StepsAtOnce(1, 1)),
        (16, 1, 4, 0, StepsAtOnce(12, 16)),
        (16, 4, 4, 0, StepsAtOnce(3, 4)),
        (16, 1, 4, 2, StepsAtOnce(2, 2)),
    ],
)
def test_the_front_ends_cores_are_for_rushes(
    monkeypatch: pytest.MonkeyPatch,
    n_cores: int,
    threads: int,
    n_front_ends: int,
    parallel_steps: int,
    steps: StepsAtOnce,
) -> None:
    monkeypatch.setattr("siren_grpc.models.calibrate.cores", lambda: n_cores)
    backend = ArithmeticBackend()
    calibrate(
        backend,  # type: ignore[arg-type]
        threads=threads,
        parallel_steps=parallel_steps,
        max_batch=3,
        n_front_ends=n_front_ends,
    )
    assert backend.steps_at_once == steps

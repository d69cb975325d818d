"""A step that is recorded gives what the step gives, or is not recorded."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from siren_grpc.models.layer_graphs import GraphedStep
from tests.support.recorded_steps import CpuRecorder

Body = Callable[[], torch.Tensor]
Recorded = tuple[torch.Tensor, Callable[[], None]]


class CountedStep:
    """Something of all three inputs; counts its calls."""

    def __init__(self) -> None:
        self.n_calls = 0

    def __call__(
        self, slots: torch.Tensor, frames: torch.Tensor, lengths: torch.Tensor
    ) -> torch.Tensor:
        self.n_calls += 1
        return frames * 2 + slots[:, None, None] + 10 * lengths[:, None, None]


def inputs_of(n_rows: int, n_frames: int = 3, *, seed: int = 0) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    frames = torch.randn(n_rows, n_frames, 4, generator=generator)
    slots = torch.randperm(n_rows, generator=generator)
    return slots, frames, torch.randint(1, n_frames + 1, (n_rows,), generator=generator)


def test_each_shape_is_recorded_once_and_replayed_with_what_comes() -> None:
    record = CpuRecorder()
    graphed = GraphedStep(CountedStep(), record)
    for seed in range(4):
        for shape in ((1, 3), (2, 3), (2, 7)):
            inputs = inputs_of(*shape, seed=seed)
            assert torch.equal(graphed(*inputs), CountedStep()(*inputs)), (shape, seed)
    assert record.n_recorded == 3
    assert record.n_replayed == 3 * 4  # one to try each, then three each


def test_what_a_step_gave_outlives_the_next() -> None:
    graphed = GraphedStep(CountedStep(), CpuRecorder())
    graphed(*inputs_of(2))
    first, second = inputs_of(2, seed=1), inputs_of(2, seed=2)
    found = graphed(*first)
    graphed(*second)
    assert torch.equal(found, CountedStep()(*first))


def test_what_is_recorded_holds_no_caller_s_tensor() -> None:
    graphed = GraphedStep(CountedStep(), CpuRecorder())
    inputs = inputs_of(2)
    graphed(*inputs)
    for tensor in inputs:
        tensor.zero_()
    again = inputs_of(2, seed=1)
    assert torch.equal(graphed(*again), CountedStep()(*again))
    assert not any(tensor.any() for tensor in inputs)


class Fails(CpuRecorder):
    def __call__(self, body: Body) -> Recorded:
        super().__call__(body)
        raise RuntimeError("CUDA error: operation not permitted when stream is capturing")


class IsStale(CpuRecorder):
    """Replays what was recorded, whatever the inputs hold."""

    def __call__(self, body: Body) -> Recorded:
        made, _ = super().__call__(body)
        return made, lambda: None


class GivesNan(CpuRecorder):
    def __call__(self, body: Body) -> Recorded:
        made, _ = super().__call__(body)
        return made, lambda: made.fill_(float("nan"))


class FindsNoMemory(CpuRecorder):
    def __call__(self, body: Body) -> Recorded:
        super().__call__(body)
        raise torch.OutOfMemoryError("CUDA out of memory")


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        (Fails, "not permitted"),
        (IsStale, "off by"),
        (GivesNan, "off by nan"),
        (FindsNoMemory, "out of memory"),
    ],
)
def test_a_recording_that_is_no_good_leaves_all_steps_plain(
    kind: type[CpuRecorder], why: str, caplog: pytest.LogCaptureFixture
) -> None:
    record, step = kind(), CountedStep()
    graphed = GraphedStep(step, record)
    for seed in range(3):
        for n_rows in (2, 1):
            inputs = inputs_of(n_rows, seed=seed)
            assert torch.equal(graphed(*inputs), CountedStep()(*inputs))
    assert record.n_recorded == 1
    assert step.n_calls == 6 + 1
    (said,) = caplog.messages
    assert "no CUDA graphs" in said
    assert "2 rows of 3 frames" in said
    assert why in said


def test_what_was_recorded_before_a_failure_is_let_go_of() -> None:
    """One pool holds all graphs: where one is no good, none is trusted."""

    class FailsSecond(CpuRecorder):
        def __call__(self, body: Body) -> Recorded:
            if self.n_recorded:
                raise RuntimeError("CUDA error")
            return super().__call__(body)

    record = FailsSecond()
    graphed = GraphedStep(CountedStep(), record)
    for n_rows in (1, 2):
        graphed(*inputs_of(n_rows))
    replayed = record.n_replayed
    inputs = inputs_of(1, seed=1)
    assert torch.equal(graphed(*inputs), CountedStep()(*inputs))
    assert record.n_replayed == replayed

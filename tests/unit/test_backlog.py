from __future__ import annotations

from siren_grpc.domain.step import StepResult
from siren_grpc.engine.backlog import Backlog
from siren_grpc.engine.messages import Recognised
from tests.support.builders import make_chunk, make_preview


def recognise(backlog: Backlog, *, n_chunks: int) -> None:
    for _ in range(n_chunks):
        chunk = make_chunk()
        backlog.enter(chunk, 0.0)
        backlog.settle(Recognised(chunk, StepResult((), ()), 0.0))


def test_one_preview_is_under_way_at_a_time() -> None:
    backlog = Backlog()
    preview = make_preview()
    assert backlog.enter(preview, 0.0)
    assert not backlog.enter(make_preview(), 0.1)
    backlog.settle(Recognised(preview, StepResult((), ()), 0.0))
    assert backlog.enter(make_preview(), 0.2)


def test_the_more_previews_were_in_vain_the_longer_none_follows() -> None:
    backlog = Backlog()
    assert backlog.enter(make_preview(), 0.0)
    rests = []
    for _ in range(5):
        recognise(backlog, n_chunks=1)  # the stepper drops what is overtaken
        n_chunks = 0
        while not backlog.enter(make_preview(), 0.0):
            recognise(backlog, n_chunks=1)
            n_chunks += 1
        rests.append(n_chunks)
    assert rests == [1, 3, 7, 7, 7]


def test_a_preview_that_is_heard_ends_the_rest() -> None:
    backlog = Backlog()
    late = make_preview()
    backlog.enter(late, 0.0)
    backlog.enter(make_chunk(), 0.0)
    assert not backlog.enter(make_preview(), 0.0)
    backlog.settle(Recognised(late, StepResult((), ()), 0.0))  # it was in a step already
    assert backlog.enter(make_preview(), 0.0)

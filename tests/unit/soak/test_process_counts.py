from __future__ import annotations

import pytest

from siren_grpc.observe.processes import ProcessUse
from siren_grpc.soak.process_counts import ProcessCounts, leaks


def counts(name: str = "engine", *, fds: int = 10, **of: float) -> ProcessCounts:
    return ProcessCounts(
        name, {"tasks": 6, "threads": 4, **of}, ProcessUse(2**21, 2**20, fds, 30, 1.5)
    )


def test_an_idle_server_as_before_leaks_nothing():
    assert leaks([], [counts(sessions=0)]) == []
    assert leaks([counts()], [counts(sessions=0, slots=0)]) == []
    assert leaks([counts(threads=4)], [counts(threads=12)]) == []


@pytest.mark.parametrize(
    ("now", "told"),
    [
        (counts(sessions=2), "engine: 2 sessions left"),
        (counts(resumable=1), "engine: 1 resumable left"),
        (counts(fds=11), "engine: 11 fds, 10 after the warm-up"),
        (counts(tasks=7), "engine: 7 tasks, 6 after the warm-up"),
        (counts(threads=13), "engine: 13 threads, 4 after the warm-up"),
    ],
)
def test_what_is_left_is_told(now, told):
    assert leaks([counts()], [now]) == [told]


def test_what_belongs_to_streams_needs_no_baseline():
    assert leaks([], [counts(), counts("front end 1", streams=1)]) == [
        "front end 1: 1 streams left"
    ]
    assert leaks([], [counts(fds=99)]) == []

"""What a process does before it serves."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator

import pytest

from siren_grpc import runtime
from siren_grpc.runtime import (
    core_time,
    cores,
    importing_for_good,
    share_the_cores,
)


@pytest.fixture(autouse=True)
def thawed() -> Iterator[None]:
    yield
    gc.unfreeze()
    gc.enable()


def test_what_is_imported_is_left_out_of_later_collections() -> None:
    n_before = gc.get_freeze_count()
    with importing_for_good():
        assert not gc.isenabled()
        kept = [[] for _ in range(1000)]
    assert gc.isenabled()
    assert gc.get_freeze_count() >= n_before + len(kept)


def test_a_failed_import_leaves_collections_on() -> None:
    with pytest.raises(ImportError), importing_for_good():
        raise ImportError
    assert gc.isenabled()


def test_who_collects_by_hand_still_does() -> None:
    gc.disable()
    with importing_for_good():
        pass
    assert not gc.isenabled()


@pytest.mark.parametrize(
    ("limit", "n_cores"), [(None, 64), (0.1, 1), (1.0, 1), (3.5, 4), (64.0, 64), (100.0, 64)]
)
def test_cores_are_no_more_than_the_limit_of_the_container(
    limit: float | None, n_cores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(64)), raising=False)
    monkeypatch.setattr(runtime, "cpu_limit", lambda: limit)
    assert cores() == n_cores
    assert core_time() == (64 if limit is None else min(64, limit))


@pytest.mark.parametrize(
    ("limit", "own", "threads"),
    [(None, None, None), (4.0, None, "4"), (4.0, "2", "2"), (64.0, None, None)],
)
def test_openmp_is_told_of_a_limit_that_it_does_not_see(
    limit: float | None, own: str | None, threads: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = {} if own is None else {"OMP_NUM_THREADS": own}
    monkeypatch.setattr(os, "environ", environment)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(64)), raising=False)
    monkeypatch.setattr(runtime, "cpu_limit", lambda: limit)
    share_the_cores()
    assert environment.get("OMP_NUM_THREADS") == threads

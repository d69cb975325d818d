from __future__ import annotations

import pytest

from siren_grpc.bench.ramp import Rungs, largest_held


class Machine:
    """Holds up to so many streams, and notes what was tried."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.tried: list[int] = []

    def holds(self, n_streams: int) -> bool:
        self.tried.append(n_streams)
        return n_streams <= self.limit


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 5, 7, 8, 37, 63, 64, 100])
@pytest.mark.parametrize("start", [1, 4, 100])
def test_the_limit_is_found_to_the_stream(limit: int, start: int) -> None:
    machine = Machine(limit)
    assert largest_held(machine.holds, start=start, resolution=0, most=128) == limit
    assert len(machine.tried) == len(set(machine.tried))


def test_the_search_ends_at_the_resolution() -> None:
    machine = Machine(90)
    found = largest_held(machine.holds, start=8, resolution=0.1, most=1024)
    assert found is not None
    assert 81 <= found <= 90
    assert len(machine.tried) <= 9


def test_nothing_held_is_none_and_all_held_is_the_most() -> None:
    assert largest_held(Machine(0).holds, start=4, resolution=0, most=64) is None
    assert largest_held(Machine(999).holds, start=4, resolution=0, most=50) == 50


def test_a_rung_is_measured_once() -> None:
    machine = Machine(5)
    rungs = Rungs(lambda n: {"streams": n, "held": machine.holds(n)})
    assert [rungs.holds(n) for n in (8, 4, 8, 2, 4)] == [False, True, False, True, True]
    assert machine.tried == [8, 4, 2]
    assert [rung["streams"] for rung in rungs.measured] == [2, 4, 8]
    assert rungs.largest_held == 4
    assert Rungs(lambda n: {"held": False}).largest_held is None


def test_a_rung_is_told_in_full() -> None:
    machine = Machine(5)
    rungs = Rungs(lambda n: {"streams": n, "held": machine.holds(n)})
    assert rungs.rung(6) == {"streams": 6, "held": False}
    assert not rungs.holds(6)
    assert rungs.rung(3) == {"streams": 3, "held": True}
    assert machine.tried == [6, 3]

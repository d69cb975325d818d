from __future__ import annotations

import pytest

from siren_grpc.scheduling.slots import SlotTable


def test_slots_are_distinct_and_come_back() -> None:
    slots = SlotTable(3)
    taken = [slots.acquire() for _ in range(3)]
    assert sorted(taken) == [0, 1, 2]
    assert slots.n_free == 0
    slots.release(1)
    assert slots.acquire() == 1


def test_misuse_raises() -> None:
    slots = SlotTable(1)
    slots.acquire()
    with pytest.raises(AssertionError, match="no free slot"):
        slots.acquire()
    slots.release(0)
    with pytest.raises(AssertionError, match="not taken"):
        slots.release(0)

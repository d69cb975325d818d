from __future__ import annotations

from functools import partial

import pytest

from siren_grpc.scheduling.admission import Admission
from siren_grpc.scheduling.load import LaneWork, Load
from tests.support.builders import LANE


def refusal(admission: Admission, *, n_free: int = 1, now: float = 100.0) -> str | None:
    error = admission.refusal("m", n_slots=8, n_free=n_free, now=now)
    if error is None:
        return None
    assert error.retry_after_s is not None
    return error.message


def test_a_session_may_start_where_there_is_a_slot() -> None:
    assert refusal(Admission()) is None


def test_without_a_free_slot_it_may_not() -> None:
    assert "all 8 sessions of model m are taken" in (refusal(Admission(), n_free=0) or "")


@pytest.mark.parametrize(("late_s", "may"), [(-5.0, True), (1.9, True), (2.1, False)])
def test_steps_far_behind_real_time_keep_sessions_out(late_s: float, may: bool) -> None:
    admission = Admission()
    admission.note_late(late_s, 100.0)
    assert (refusal(admission, now=101.9) is None) == may
    assert refusal(admission, now=102.1) is None


def test_out_of_memory_keeps_sessions_out_for_a_while() -> None:
    admission = Admission()
    admission.note_no_memory(100.0)
    assert "out of memory" in (refusal(admission, now=109.9) or "")
    assert refusal(admission, now=110.1) is None


@pytest.mark.parametrize(("n_slots", "kept"), [(1, 0), (7, 0), (8, 1), (24, 3)])
def test_recordings_leave_the_last_slots_to_live_sessions(n_slots: int, kept: int) -> None:
    admission = Admission()
    refused = admission.refusal("m", n_slots=n_slots, n_free=kept, now=0.0, is_live=False)
    assert refused is not None
    assert refused.retry_after_s is not None
    assert ("kept for live streams" in refused.message) == (kept > 0)
    free = admission.refusal("m", n_slots=n_slots, n_free=kept + 1, now=0.0, is_live=False)
    assert free is None
    if kept:
        assert admission.refusal("m", n_slots=n_slots, n_free=kept, now=0.0) is None


def test_recordings_make_no_live_session_late() -> None:
    work = LaneWork(LANE, 0.16, (1, 2))
    load = Load(max_load=0.5)
    for i in range(100):
        load.note_step(work, 2, [1.0, 1.0], 0.1, 0.01 * i)
    assert load.is_late(1.0)
    admission = Admission(load)
    ask = partial(admission.refusal, "m", n_slots=8, n_free=8, now=1.0)
    assert ask(is_live=True) is not None
    assert ask(is_live=False) is None

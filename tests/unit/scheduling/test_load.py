"""Who may start, by what steps cost: single measurements, and whole loads in simulated time."""

from __future__ import annotations

import pickle
import random
from copy import deepcopy
from dataclasses import replace
from statistics import quantiles

import pytest
from hypothesis import given
from hypothesis import strategies as st

from siren_grpc.scheduling.load import Load
from tests.support.builders import LANE
from tests.support.simulated_load import CHUNK_S, SIZES, WORK, SimulatedDevice

BOUND = 0.8


def step_s(n_rows: int) -> float:
    """A device that holds 32 / (0.008 + 32 * 0.001) * 0.16 = 128 sessions."""
    return 0.008 + 0.001 * n_rows


CAPACITY = 128
IN_A_RUSH = 68
"""Sessions that may start at once: each counts one and a half while nothing is known of it."""


def expecting() -> Load:
    load = Load(max_load=BOUND)
    load.expect(WORK, {size: step_s(size) for size in (SIZES[0], SIZES[-1])})
    return load


def note(load: Load, taken: float, now: float, *, n_rows: int = 8) -> None:
    waits_s = [taken * CHUNK_S - step_s(n_rows)] * n_rows
    load.note_step(WORK, n_rows, waits_s, step_s(n_rows), now)


def taken(load: Load, n_offered: int, now: float, *, n_live: int = 0, n_workers: int = 1) -> int:
    """Offer sessions at once beside those that live already; return how many start."""
    n_before = n_live
    for _ in range(n_offered):
        n_live += load.may_start(WORK, {LANE: n_live}, n_workers=n_workers, now=now)
    return n_live - n_before


def may_start(load: Load, now: float) -> bool:
    """Offer a session to a load that knows no costs: how many live is nothing to it."""
    return load.may_start(WORK, {LANE: 1000}, n_workers=1, now=now)


def test_an_idle_device_takes_whoever_comes() -> None:
    assert taken(Load(max_load=BOUND), 500, 0.0) == 500


def test_one_slow_step_is_no_load() -> None:
    load = Load(max_load=BOUND)
    note(load, 3.0, 0.0, n_rows=1)
    assert may_start(load, 0.1)


def test_late_chunks_keep_sessions_out_until_they_are_well_in_time_again() -> None:
    load = Load(max_load=BOUND)
    for i in range(50):
        note(load, 1.0, i * 0.05)
    assert load.is_late(2.5)
    assert not may_start(load, 2.5)
    now, n_changes, was_late = 2.5, 0, True
    while now < 12.5:
        now += 0.05
        # About the bound, above and below it by turns: it stays as it was.
        note(load, BOUND * (0.98 if n_changes == 0 else 0.8) + 0.1 * ((now * 20) % 2 - 0.5), now)
        n_changes += load.is_late(now) is not was_late
        was_late = load.is_late(now)
    assert n_changes == 0
    while now < 30:
        now += 0.05
        note(load, BOUND * 0.5, now)
        n_changes += load.is_late(now) is not was_late
        was_late = load.is_late(now)
    assert n_changes == 1
    assert not was_late


def test_without_steps_a_load_is_forgotten() -> None:
    load = Load(max_load=BOUND)
    for i in range(50):
        note(load, 1.5, i * 0.05)
    assert load.is_late(2.5)
    assert not load.is_late(12.5)


def test_no_bound_refuses_nobody() -> None:
    load = Load(max_load=0)
    for i in range(50):
        note(load, 9.0, i * 0.05)
    assert may_start(load, 2.5)


def test_who_does_not_fit_by_the_cost_is_refused_before_anybody_is_late() -> None:
    load = expecting()
    assert taken(load, 2 * CAPACITY, 0.0) == IN_A_RUSH


def test_to_ask_for_room_leaves_no_trace() -> None:
    load = expecting()
    other = replace(WORK, lane=replace(LANE, chunk_frames=7))
    for i in range(400):
        now = i * 0.05
        before = pickle.dumps(load)
        n_live = {LANE: i % 60}
        has_room = load.has_room(WORK, n_live, n_workers=1, now=now)
        load.has_room(other, n_live, n_workers=1, now=now + 60)
        assert pickle.dumps(load) == before
        assert load.may_start(WORK, n_live, n_workers=1, now=now) is has_room
        if i % 3 == 0:
            note(load, 0.2 + i / 400, now, n_rows=1 + i % 32)
    assert not has_room


@given(
    steps=st.lists(st.tuples(st.integers(1, 32), st.floats(0, 2)), max_size=20),
    counts=st.lists(st.tuples(st.integers(0, 200), st.floats(0, 2)), max_size=5),
    n_live=st.integers(0, 200),
    n_leaving=st.integers(0, 200),
)
def test_fewer_sessions_leave_no_less_room(
    steps: list[tuple[int, float]], counts: list[tuple[int, float]], n_live: int, n_leaving: int
) -> None:
    """So who is refused although some may leave is refused when they have left, too."""
    load = expecting()
    for i, (n_rows, taken) in enumerate(steps):
        note(load, taken, i * 0.1, n_rows=n_rows)
    for count, at in sorted(counts, key=lambda noted: noted[1]):
        load.may_start(WORK, {LANE: count}, n_workers=1, now=at)
    rooms = [
        load.has_room(WORK, {LANE: max(0, n)}, n_workers=1, now=2.0)
        for n in (n_live, n_live - n_leaving)
    ]
    assert rooms[1] >= rooms[0]


def test_a_machine_too_slow_for_one_session_takes_one() -> None:
    load = Load(max_load=BOUND)
    load.expect(WORK, {size: 2 * size * CHUNK_S for size in (1, 32)})
    assert load.may_start(WORK, {}, n_workers=1, now=0.0)
    assert not load.may_start(WORK, {LANE: 1}, n_workers=1, now=0.1)


def test_sessions_one_after_the_other_leave_nothing_behind() -> None:
    load = expecting()
    before = len(pickle.dumps(load))
    for i in range(1000):
        assert load.may_start(WORK, {}, n_workers=1, now=10.0 * i)
    assert len(pickle.dumps(load)) < before + 200


def test_whose_cost_nobody_knows_is_bounded_by_lateness_alone() -> None:
    load = Load(max_load=BOUND)
    assert taken(load, 2 * CAPACITY, 0.0) == 2 * CAPACITY
    for i in range(50):
        note(load, 1.0, i * 0.05)
    assert not may_start(load, 2.5)


def test_what_else_the_machine_does_leaves_room_for_fewer() -> None:
    load = expecting()
    for _ in range(50):
        load.note_step(WORK, 2, [], 1.6 * step_s(2), 0.0)
    assert taken(load, 2 * CAPACITY, 0.0) == pytest.approx(IN_A_RUSH / 1.6, abs=1)


def test_sessions_whose_first_step_is_still_to_come_count() -> None:
    load = expecting()
    n_taken = 0
    for tenth in range(6):  # nothing is stepped for half a second
        n_taken += taken(load, 15, 20.0 + tenth / 10, n_live=n_taken)
    assert IN_A_RUSH <= n_taken < 1.2 * IN_A_RUSH


def test_rows_that_ends_of_utterances_bring_count() -> None:
    load = expecting()
    n_live, per_s = 40, 2 * 40 / CHUNK_S  # each brings twice the rows of its audio
    assert taken(load, n_live, 0.0) == n_live
    for i in range(400):
        load.note_step(WORK, 32, [0.0] * 32, step_s(32), i * 32 / per_s)
    now = 400 * 32 / per_s
    rows_that_fit = (BOUND * CAPACITY - 2 * n_live) / 1.5
    assert taken(load, 100, now, n_live=n_live) == pytest.approx(rows_that_fit, abs=3)


def test_who_comes_to_sessions_that_bring_more_rows_than_one_is_not_hidden_by_them() -> None:
    """What the old ones bring beyond a row each is no measure of the new ones."""
    load = expecting()
    assert taken(load, 20, 0.0) == 20
    for i in range(400):
        now = i * 16 / (2 * 20 / CHUNK_S)
        load.note_step(WORK, 16, [0.0] * 16, step_s(16), now)
    rows_that_fit = (BOUND * CAPACITY - 2 * 20) / 1.5
    assert taken(load, 100, now, n_live=20) == pytest.approx(rows_that_fit, abs=3)


def test_who_comes_after_others_have_left_is_reckoned_with_in_full() -> None:
    """Nothing is stepped after they left, so nobody is told that they did."""
    load = expecting()
    assert taken(load, 60, 0.0) == 60
    assert taken(load, 1, 60.0, n_live=60) == 1
    assert taken(load, 2 * CAPACITY, 120.0) == IN_A_RUSH


def test_who_comes_as_others_leave_stands_in_for_them_in_their_lane_only() -> None:
    """Their rows, as they were measured, are reckoned with a while after they are gone."""
    load = expecting()
    assert taken(load, 60, 0.0) == 60
    for i in range(int(20 / CHUNK_S)):
        now = i * CHUNK_S
        for _ in range(2):
            load.note_step(WORK, 30, [0.0] * 30, step_s(32), now)
    assert taken(load, 1, now, n_live=60) == 1
    other = replace(WORK, lane=replace(LANE, chunk_frames=7))
    load.expect(other, {size: step_s(size) for size in (SIZES[0], SIZES[-1])})
    elsewhere = deepcopy(load)
    n_elsewhere = 0
    while elsewhere.may_start(other, {other.lane: n_elsewhere}, n_workers=1, now=now):
        n_elsewhere += 1
    room = (BOUND * CAPACITY - 60) / 1.5
    assert n_elsewhere == pytest.approx(room, abs=3)
    assert taken(load, 100, now) == pytest.approx(60 + room, abs=3)


def test_the_last_who_came_is_known_in_time_though_nobody_comes_after() -> None:
    """A device that holds three is not full with one of them."""
    load = Load(max_load=BOUND)
    load.expect(WORK, {size: size * CHUNK_S / 4 for size in (1, 32)})
    assert taken(load, 1, 0.0) == 1
    for i in range(200):
        load.note_step(WORK, 1, [0.0], CHUNK_S / 4, i * CHUNK_S)
    assert taken(load, 1, 200 * CHUNK_S, n_live=1) == 1
    for i in range(200, 400):
        load.note_step(WORK, 2, [0.0] * 2, CHUNK_S / 2, i * CHUNK_S)
    assert taken(load, 9, 400 * CHUNK_S, n_live=2) == 1


def test_sessions_that_come_and_go_are_reckoned_with_by_their_rows() -> None:
    """Twenty a second of two seconds each: as many rows as forty that stay."""
    device = SimulatedDevice(expecting(), step_s)
    for i in range(400):
        device.run(i / 20)
        assert device.offer(lasting_s=2.08, phase=(i % 8) * CHUNK_S / 8)
    assert taken(device.load, 100, device.now, n_live=40) == pytest.approx(
        (BOUND * CAPACITY - 40) / 1.5, abs=8
    )


@pytest.mark.parametrize("stall", [None, (10.0, 11.5)])
def test_sessions_whose_connections_stood_still_are_no_less_load(
    stall: tuple[float, float] | None,
) -> None:
    device, n_live = SimulatedDevice(expecting(), step_s), 40
    for i in range(n_live):
        device.run(i / 20)
        assert device.offer(lasting_s=60, phase=(i % 8) * CHUNK_S / 8, stall=stall)
    device.run(25)
    assert taken(device.load, 100, 25.0, n_live=n_live) == pytest.approx(
        (BOUND * CAPACITY - n_live) / 1.5, abs=3
    )


def test_sessions_that_say_nothing_are_no_load() -> None:
    load = expecting()
    for second in range(60):
        assert taken(load, 12, 20.0 + second, n_live=12 * second) == 12


def latencies(device: SimulatedDevice, behind: float) -> list[float]:
    return [taken for taken_s in device.taken_s.values() for at, taken in taken_s if at > behind]


@pytest.mark.parametrize("per_s", [5, 40, 400])
def test_twice_the_capacity_offered_keeps_those_taken_in_time(per_s: int) -> None:
    device = SimulatedDevice(expecting(), step_s)
    noise = random.Random(1)
    at, n_taken, n_offered = 0.0, 0, 0
    while n_offered < 2 * CAPACITY or device.now < 20:
        device.run(at)
        n_taken += device.offer(lasting_s=90, phase=noise.random() * CHUNK_S)
        n_offered += 1
        at += 0.2 if device.now < 5 else 1 / per_s  # a light load first
    device.run(at + 4)
    assert 0.7 * CAPACITY <= n_taken <= CAPACITY
    percentiles = quantiles(latencies(device, 1), n=100)
    assert percentiles[94] < CHUNK_S


def test_a_rush_on_a_device_just_started_is_taken_as_far_as_it_fits() -> None:
    device = SimulatedDevice(expecting(), step_s)
    noise = random.Random(3)
    offers = [
        device.offer(lasting_s=6, phase=noise.random() * CHUNK_S) for _ in range(2 * CAPACITY)
    ]
    assert offers.index(False) == sum(offers) == IN_A_RUSH
    for tenth in range(10, 60):
        device.run(tenth / 10)
        offers.append(device.offer(lasting_s=6))
    assert BOUND * CAPACITY * 0.9 < sum(offers) <= CAPACITY
    device.run(40)
    assert device.offer(lasting_s=6)
    assert quantiles(latencies(device, 0), n=100)[94] < CHUNK_S


def test_a_device_that_others_use_too_takes_fewer_in_a_rush() -> None:
    """Its steps take twice what they took at start as soon as there is a load."""
    device = SimulatedDevice(expecting(), lambda n_rows: 2 * step_s(n_rows))
    noise = random.Random(5)
    n_taken = 0
    for i in range(2 * CAPACITY):  # within two seconds
        device.run(i / CAPACITY)
        n_taken += device.offer(lasting_s=30, phase=noise.random() * CHUNK_S)
    assert 0.3 * CAPACITY < n_taken < 0.55 * CAPACITY
    device.run(12)
    assert quantiles(latencies(device, 3), n=100)[94] < CHUNK_S


def test_room_that_comes_free_is_taken_again() -> None:
    device = SimulatedDevice(expecting(), step_s)
    noise = random.Random(2)
    n_taken, length_s = 0, 30
    for i in range(length_s * 60):  # 60 a second, of 4 s each: twice what there is room for
        device.run(i / 60)
        n_taken += device.offer(lasting_s=4, phase=noise.random() * CHUNK_S)
    assert 0.7 * CAPACITY < n_taken * 4 / length_s < CAPACITY
    assert quantiles(latencies(device, 1), n=100)[94] < CHUNK_S


def test_recordings_that_fill_the_idle_time_are_no_load() -> None:
    device = SimulatedDevice(expecting(), step_s)
    for _ in range(16):
        device.record(2000)
    for i in range(30):
        device.run(i / 10)
        assert device.offer(lasting_s=10)
    assert device.n_refused == 0


def test_files_sent_as_live_audio_far_ahead_of_its_pace_are_no_load() -> None:
    load = expecting()
    for i in range(1000):
        load.note_step(WORK, 32, [], step_s(32), i * 0.04)
    assert taken(load, IN_A_RUSH, 40.0) == IN_A_RUSH


def test_steps_at_once_hold_as_many_times_the_sessions() -> None:
    assert taken(expecting(), 500, 0.0) == IN_A_RUSH
    assert taken(expecting(), 500, 0.0, n_workers=3) == pytest.approx(3 * IN_A_RUSH, abs=3)


def test_what_a_model_took_is_forgotten_with_it() -> None:
    load = expecting()
    for i in range(100):
        load.note_step(WORK, 32, [0.0] * 32, step_s(32), i * 0.01)
    assert not taken(load, 1, 1.0, n_live=5)
    load.forget(LANE.model)
    load.expect(WORK, {size: step_s(size) for size in (SIZES[0], SIZES[-1])})
    assert taken(load, 1, 1.0, n_live=5)

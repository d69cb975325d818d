"""Recordings give way to live streams, and still end."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siren_grpc.domain.model import DecoderKind, Lane
from siren_grpc.domain.work import Chunk, EndUtterance
from siren_grpc.scheduling.plan import LaneLimits, StepKind, StepPlan
from siren_grpc.scheduling.recordings import RecordingShare
from siren_grpc.scheduling.scheduler import Scheduler
from tests.support.builders import LANE, make_chunk, make_preview

OTHER_LANE = Lane(7, DecoderKind.RNNT)
CHUNK_S = len(make_chunk().samples) / 16_000
LIVE, RECORDING = 0, 1


def make_scheduler(
    *sessions: tuple[Lane, bool], sizes: tuple[int, ...] = (1, 2, 4, 8)
) -> Scheduler:
    """Sessions numbered from 0: (lane, is_live)."""
    scheduler = Scheduler()
    for session_id, (lane, is_live) in enumerate(sessions):
        scheduler.add(session_id, lane, LaneLimits(16_000, sizes), is_live=is_live)
    return scheduler


def ids(plan: StepPlan) -> list[int]:
    return [session_id for session_id, _ in plan.rows]


def step(scheduler: Scheduler, now: float, *, takes: float = 0.0) -> list[int]:
    """Plan, complete, and return whose turn it was."""
    plan = scheduler.plan(now)
    scheduler.complete(plan, now + takes)
    return ids(plan)


def test_a_live_chunk_goes_before_recordings_that_came_first() -> None:
    scheduler = make_scheduler((LANE, True), (OTHER_LANE, False))
    scheduler.push(RECORDING, make_chunk(), 0.0)
    scheduler.push(RECORDING, make_chunk(), 0.0)
    assert step(scheduler, 0.0, takes=0.01) == [RECORDING], "idle: nothing to give way to"
    scheduler.push(LIVE, make_chunk(), 0.02)
    assert step(scheduler, 0.02) == [LIVE]
    assert step(scheduler, 0.02) == [RECORDING]


def test_even_late_recordings_are_not_due() -> None:
    """A recording that came a minute ago has no deadline that has passed."""
    scheduler = make_scheduler((LANE, True), (LANE, False), sizes=(1,))
    for _ in range(2):
        scheduler.push(RECORDING, make_chunk(), 0.0)
    plan = scheduler.plan(0.0)
    scheduler.complete(plan, 1.0)
    assert (plan.kind, plan.deadline) == (StepKind.RECORDINGS, None)
    for _ in range(3):
        scheduler.push(LIVE, make_chunk(), 15.0)
    scheduler.push(LIVE, EndUtterance(1, 1), 15.0)
    assert [step(scheduler, 15.0) for _ in range(4)] == [[LIVE]] * 3 + [[RECORDING]]


def test_the_end_of_a_short_recording_is_not_hastened() -> None:
    """Nobody speaks: it does not overtake the recordings that came before it."""
    scheduler = make_scheduler((LANE, False), (LANE, False), sizes=(1,))
    for _ in range(4):
        scheduler.push(0, make_chunk(), 0.0)
    for _ in range(2):
        scheduler.push(1, make_chunk(), 2.5 * CHUNK_S)
    scheduler.push(1, EndUtterance(1, 1), 2.5 * CHUNK_S)
    turns = [step(scheduler, 2.5 * CHUNK_S)[0] for _ in range(6)]
    assert turns == [0, 0, 0, 1, 0, 1]


def test_a_live_chunk_waits_for_no_recording_to_fill_its_batch() -> None:
    scheduler = Scheduler(max_delay_s=0.02)
    for session_id, (lane, is_live) in enumerate(
        [(LANE, True), (LANE, False), (LANE, False), (OTHER_LANE, True)]
    ):
        scheduler.add(session_id, lane, LaneLimits(16_000, (1, 2, 4, 8)), is_live=is_live)
    scheduler.push(3, make_chunk(), 1.0)
    assert ids(scheduler.plan(1.0)) == [3]
    scheduler.push(LIVE, make_chunk(), 1.0)
    assert ids(scheduler.plan(1.0)) == [LIVE], "the only live session of its lane"


def test_recordings_fill_up_what_a_live_step_is_padded_to() -> None:
    scheduler = make_scheduler(*[(LANE, True)] * 3, *[(LANE, False)] * 3, sizes=(1, 4, 8))
    for session_id in range(3, 6):
        scheduler.push(session_id, make_chunk(), 0.0)
    scheduler.complete(scheduler.plan(0.0), 1.0)
    for session_id in range(3, 6):
        scheduler.push(session_id, make_chunk(), 1.0)
    for session_id in (0, 1):
        scheduler.push(session_id, make_chunk(), 1.1)
    plan = scheduler.plan(1.1)
    assert ids(plan)[:2] == [0, 1]
    assert len(ids(plan)) == 4, "two rows are padded to four anyway"
    assert plan.deadline == pytest.approx(1.1 + CHUNK_S)
    scheduler.complete(plan, 1.1)
    scheduler.push(0, make_chunk(), 2.0)
    assert step(scheduler, 2.0) == [0], "one row fills a step of one"


def test_previews_of_live_streams_go_before_recordings() -> None:
    scheduler = make_scheduler((LANE, True), (LANE, False))
    scheduler.push(RECORDING, make_chunk(), 0.0)
    scheduler.push(RECORDING, make_chunk(), 0.0)
    assert step(scheduler, 0.0, takes=0.01) == [RECORDING]
    scheduler.push(LIVE, make_preview(), 0.1)
    assert step(scheduler, 0.1, takes=0.01) == [LIVE]
    scheduler.push(LIVE, make_preview(), 0.111)
    assert step(scheduler, 0.111) == [RECORDING], "while the previews rest"


def test_steps_are_short_while_a_live_session_is_open() -> None:
    scheduler = make_scheduler((LANE, True), *[(LANE, False)] * 16)
    for session_id in range(1, 17):
        for _ in range(3):
            scheduler.push(session_id, make_chunk(), 0.0)
    assert len(step(scheduler, 0.0)) == 2
    scheduler.remove(LIVE)
    assert len(step(scheduler, 0.0)) == 8


def test_the_last_idle_worker_is_left_to_live_streams() -> None:
    scheduler = make_scheduler((LANE, True), *[(LANE, False)] * 4, sizes=(1,))
    for session_id in range(1, 5):
        scheduler.push(session_id, make_chunk(), 0.0)
    first = scheduler.plan(0.0, n_idle=2)
    assert first.kind is StepKind.RECORDINGS
    assert scheduler.plan(0.0, n_idle=1).is_empty
    scheduler.push(LIVE, make_chunk(), 0.01)
    assert ids(scheduler.plan(0.01, n_idle=1)) == [LIVE], "beside them it waits for nobody"
    scheduler.complete(first, 0.02)
    assert scheduler.plan(0.02, n_idle=1).is_empty
    scheduler.remove(LIVE)
    assert scheduler.plan(0.03, n_idle=1).kind is StepKind.RECORDINGS


def test_the_share_is_of_the_time_that_recordings_wait() -> None:
    share = RecordingShare()
    assert not share.is_due(0.0, are_waiting=False)
    assert share.is_due(1.0, are_waiting=True), "what a step takes is not known yet"
    share.note_step(1.0, 1.1)
    assert not share.is_due(2.9, are_waiting=True)
    assert share.is_due(3.1, are_waiting=True)
    assert not share.is_due(3.2, are_waiting=False)
    assert not share.is_due(5.0, are_waiting=True), "time without recordings earns nothing"
    assert share.is_due(7.0, are_waiting=True)


class Device:
    """A device with one worker, on which live streams speak and recordings are read."""

    def __init__(self, *, n_live: int, n_recordings: int, most: int) -> None:
        sizes = tuple(range(1, most + 1))
        sessions = [(LANE, True)] * n_live + [(OTHER_LANE, False)] * n_recordings
        self.scheduler = make_scheduler(*sessions, sizes=sizes)
        self.n_live = n_live
        for session_id in range(n_live, n_live + n_recordings):
            for _ in range(2000):
                self.scheduler.push(session_id, make_chunk(), 0.0)
        self.waiting: dict[int, list[float]] = {i: [] for i in range(n_live)}
        self.recorded_s = 0.0
        self.most_in_the_way = 0
        self.latest_s = 0.0
        """The longest that a live chunk waited for its step."""

    def run(self, *, steps: int, row_s: float, phase: float) -> float:
        """Step; a row takes row_s. Return how long it took."""
        now, spoken = 0.0, [phase * i / max(1, self.n_live) for i in range(self.n_live)]
        recorded_began: list[float] = []
        for _ in range(steps):
            for i, when in enumerate(spoken):
                while spoken[i] <= now:
                    self.scheduler.push(i, make_chunk(), spoken[i])
                    self.waiting[i].append(spoken[i])
                    spoken[i] += CHUNK_S
                assert when <= spoken[i]
            plan = self.scheduler.plan(now)
            if plan.is_empty:
                now = min(spoken)
                continue
            for session_id, _ in plan.rows:
                if session_id < self.n_live:
                    came = self.waiting[session_id].pop(0)
                    self.latest_s = max(self.latest_s, now - came)
                    behind = sum(1 for began in recorded_began[-50:] if began > came)
                    self.most_in_the_way = max(self.most_in_the_way, behind)
            if plan.kind is StepKind.RECORDINGS:
                recorded_began.append(now)
                self.recorded_s += row_s * len(plan.rows)
            now += row_s * len(plan.rows)
            self.scheduler.complete(plan, now)
        return now


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 6), st.integers(1, 8), st.floats(0.0, CHUNK_S))
def test_a_live_chunk_waits_for_no_recording_that_was_begun_behind_it(
    n_live: int, n_recordings: int, phase: float
) -> None:
    """Live streams that need half of the device: only the step under way is in their way."""
    row_s = 0.5 * CHUNK_S / n_live
    device = Device(n_live=n_live, n_recordings=n_recordings, most=8)
    total = device.run(steps=400, row_s=row_s, phase=phase)
    assert device.most_in_the_way <= 1
    assert device.latest_s <= n_live * row_s + 2 * 2 * row_s + 1e-9
    assert device.recorded_s > 0.3 * total, "recordings take what is idle"


@settings(max_examples=20, deadline=None)
@given(st.integers(8, 16), st.integers(1, 8))
def test_under_full_live_load_recordings_have_a_twentieth_of_the_time(
    n_live: int, n_recordings: int
) -> None:
    device = Device(n_live=n_live, n_recordings=n_recordings, most=8)
    total = device.run(steps=800, row_s=2 * CHUNK_S / n_live, phase=0.0)
    assert 0.03 * total < device.recorded_s < 0.07 * total


def test_every_recording_ends() -> None:
    """The oldest goes first, but those that come later are not starved by long ones."""
    scheduler = make_scheduler(*[(LANE, False)] * 3, sizes=(1,))
    for _ in range(20):
        scheduler.push(0, make_chunk(), 0.0)
    for session_id in (1, 2):
        scheduler.push(session_id, make_chunk(), 1.0)
    turns = [step(scheduler, 1.0)[0] for _ in range(22)]
    assert sorted(turns) == [0] * 20 + [1, 2]
    assert turns.index(1) < 12 > turns.index(2)


def test_nothing_is_lost_when_kinds_mix() -> None:
    scheduler = make_scheduler(*[(LANE, i % 2 == 0) for i in range(6)], sizes=(2, 5))
    chunks = {i: [make_chunk(float(i)) for _ in range(7)] for i in range(6)}
    for session_id, of_session in chunks.items():
        for chunk in of_session:
            scheduler.push(session_id, chunk, 0.0)
    seen: dict[int, list[Chunk]] = {i: [] for i in range(6)}
    for _ in range(60):
        plan = scheduler.plan(0.0)
        for session_id, work in plan.rows:
            assert isinstance(work, Chunk)
            seen[session_id].append(work)
        scheduler.complete(plan, 0.0)
    assert {i: list(map(id, found)) for i, found in seen.items()} == {
        i: list(map(id, of_session)) for i, of_session in chunks.items()
    }

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siren_grpc.domain.model import DecoderKind, Lane
from siren_grpc.domain.work import Chunk, DiscardUtterance, EndStream, EndUtterance
from siren_grpc.scheduling.plan import LaneLimits, StepPlan
from siren_grpc.scheduling.scheduler import Scheduler
from tests.support.builders import LANE, make_chunk, make_preview

OTHER_LANE = Lane(7, DecoderKind.RNNT)


def make_scheduler(*lanes: Lane, max_batch: int = 4) -> Scheduler:
    scheduler = Scheduler()
    for session_id, lane in enumerate(lanes):
        scheduler.add(session_id, lane, limits(max_batch))
    return scheduler


def limits(max_batch: int) -> LaneLimits:
    return LaneLimits(16_000, tuple(range(1, max_batch + 1)))


def planned(scheduler: Scheduler, now: float = 1e6) -> list[int]:
    """Plan, complete, and return whose turn it was."""
    plan = scheduler.plan(now)
    scheduler.complete(plan, plan.began_at)
    return [session_id for session_id, _ in plan.rows]


def test_the_oldest_work_goes_first() -> None:
    scheduler = make_scheduler(LANE, LANE, LANE, max_batch=2)
    for session_id, now in ((0, 3.0), (1, 1.0), (2, 2.0)):
        scheduler.push(session_id, make_chunk(), now)
    assert planned(scheduler) == [1, 2]
    assert planned(scheduler) == [0]
    assert scheduler.plan(1e6).is_empty


def test_a_session_has_one_row_in_a_step() -> None:
    scheduler = make_scheduler(LANE)
    scheduler.push(0, make_chunk(), 0)
    scheduler.push(0, make_chunk(), 0)
    plan = scheduler.plan(1e6)
    assert len(plan.rows) == 1
    assert scheduler.plan(1e6).is_empty, "its next chunk waits until this one is complete"
    scheduler.complete(plan, plan.began_at)
    assert planned(scheduler) == [0]


def test_counts_of_live_sessions_that_were_read_do_not_change() -> None:
    scheduler = make_scheduler(LANE, LANE)
    before = scheduler.live_counts()
    scheduler.add(7, OTHER_LANE, limits(1), is_live=False)
    scheduler.remove(0)
    assert scheduler.live_counts() == {LANE: 1, OTHER_LANE: 0}
    assert before == {LANE: 2}
    scheduler.remove(1)
    scheduler.remove(7)
    assert scheduler.live_counts() == {}


def test_lanes_are_not_mixed() -> None:
    scheduler = make_scheduler(LANE, OTHER_LANE, LANE)
    for session_id in range(3):
        scheduler.push(session_id, make_chunk(), float(session_id))
    plan = scheduler.plan(1e6)
    assert plan.lane == LANE
    assert [session_id for session_id, _ in plan.rows] == [0, 2]
    plan = scheduler.plan(1e6)
    assert plan.lane == OTHER_LANE


def test_a_flooding_session_does_not_starve_another_lane() -> None:
    scheduler = make_scheduler(LANE, OTHER_LANE)
    for i in range(50):
        scheduler.push(0, make_chunk(), float(i))
    scheduler.push(1, make_chunk(), 0.5)
    assert planned(scheduler) == [0]
    assert planned(scheduler) == [1]


def test_previews_run_only_when_no_chunk_waits() -> None:
    scheduler = make_scheduler(LANE, OTHER_LANE)
    scheduler.push(0, make_preview(), 1)
    scheduler.push(1, make_chunk(), 1)
    assert planned(scheduler, 1) == [1]
    assert planned(scheduler, 1) == [0]


def test_a_preview_overtaken_is_dropped() -> None:
    scheduler = make_scheduler(LANE)
    chunk = make_chunk()
    scheduler.push(0, make_preview(), 0)
    scheduler.push(0, make_preview(), 1)
    scheduler.push(0, chunk, 2)
    assert [work for _, work in scheduler.plan(1e6).rows] == [chunk]


def test_markers_wait_for_the_audio_before_them() -> None:
    scheduler = make_scheduler(LANE)
    chunk, end = make_chunk(), EndUtterance(1, 1)
    scheduler.push(0, chunk, 0)
    scheduler.push(0, end, 0)
    scheduler.push(0, EndStream(), 0)
    plan = scheduler.plan(1e6)
    assert plan.markers == ()
    assert scheduler.plan(1e6).is_empty
    scheduler.complete(plan, plan.began_at)
    assert scheduler.plan(1e6).markers == ((0, end), (0, EndStream()))


def test_work_of_a_removed_session_is_forgotten() -> None:
    scheduler = make_scheduler(LANE)
    scheduler.push(0, make_chunk(), 0)
    plan = scheduler.plan(1e6)
    scheduler.remove(0)
    scheduler.complete(plan, plan.began_at)
    scheduler.push(0, make_chunk(), 0)
    assert scheduler.plan(1e6).is_empty
    scheduler.remove(0)


def test_adding_twice_is_a_bug() -> None:
    with pytest.raises(AssertionError, match="added twice"):
        make_scheduler(LANE).add(0, LANE, limits(1))


OPS = st.sampled_from(["chunk", "preview", "end", "reset", "remove", "plan", "complete"])


@settings(max_examples=300)
@given(st.lists(st.tuples(st.integers(0, 4), OPS), max_size=80))
def test_every_chunk_and_marker_comes_once_and_in_order(ops: list[tuple[int, str]]) -> None:
    """Any order of calls, sessions leaving at any time, several plans in flight at once."""
    lanes = [LANE, OTHER_LANE, LANE, LANE, OTHER_LANE]
    scheduler = make_scheduler(*lanes, max_batch=2)
    pushed: dict[int, list[object]] = {i: [] for i in range(5)}
    seen: dict[int, list[object]] = {i: [] for i in range(5)}
    in_flight: list[StepPlan] = []
    removed: set[int] = set()

    def plan() -> bool:
        plan = scheduler.plan(1e6)
        busy = {session_id for earlier in in_flight for session_id, _ in earlier.rows}
        for session_id, marker in plan.markers:
            assert session_id not in busy | removed
            seen[session_id].append(marker)
        ids = [session_id for session_id, _ in plan.rows]
        assert len(set(ids)) == len(ids) <= 2
        assert not set(ids) & (busy | removed)
        assert {lanes[session_id] for session_id in ids} <= {plan.lane}
        assert len({type(work) for _, work in plan.rows}) <= 1
        for session_id, work in plan.rows:
            if isinstance(work, Chunk):
                seen[session_id].append(work)
        in_flight.append(plan)
        return not plan.is_empty

    def complete() -> None:
        if in_flight:
            plan = in_flight.pop(0)
            scheduler.complete(plan, plan.began_at)

    for n, (session_id, op) in enumerate(ops):
        if op == "plan":
            plan()
        elif op == "complete":
            complete()
        elif op == "remove":
            scheduler.remove(session_id)
            removed.add(session_id)
        else:
            work = {
                "chunk": make_chunk(),
                "preview": make_preview(),
                "end": EndUtterance(n, n),
                "reset": DiscardUtterance(n),
            }[op]
            scheduler.push(session_id, work, float(n))  # type: ignore[arg-type]
            if op != "preview":
                pushed[session_id].append(work)
    while in_flight:
        complete()
    while plan():
        complete()
    for session_id in range(5):
        expected = [id(work) for work in pushed[session_id]]
        if session_id in removed:
            expected = expected[: len(seen[session_id])]
        assert [id(work) for work in seen[session_id]] == expected


@given(st.lists(st.integers(0, 4), min_size=1, max_size=40), st.integers(1, 5))
def test_the_oldest_heads_of_all_queues_make_the_batch(sessions: list[int], max_batch: int) -> None:
    scheduler = make_scheduler(*[LANE] * 5, max_batch=max_batch)
    queues: dict[int, list[int]] = {i: [] for i in range(5)}
    for n, session_id in enumerate(sessions):
        scheduler.push(session_id, make_chunk(), float(n))
        queues[session_id].append(n)
    while any(queues.values()):
        heads = sorted((queue[0], session_id) for session_id, queue in queues.items() if queue)
        due = [session_id for _, session_id in heads[:max_batch]]
        assert planned(scheduler) == due
        for session_id in due:
            queues[session_id].pop(0)
    assert scheduler.plan(1e6).is_empty


CHUNK_S = len(make_chunk().samples) / 16_000


def test_the_tighter_deadline_goes_first() -> None:
    """A chunk of a short look-ahead has less time than one of a long look-ahead that came first."""
    long_chunk = Chunk(np.zeros(16_000, np.float32), 100, False, 0, 0)
    scheduler = make_scheduler(OTHER_LANE, LANE)
    scheduler.push(0, long_chunk, 0.0)
    scheduler.push(1, make_chunk(), 0.1)
    assert planned(scheduler, 0.1) == [1]
    assert planned(scheduler, 0.1) == [0]


def test_a_file_takes_what_is_idle_and_delays_no_live_stream() -> None:
    scheduler = make_scheduler(LANE, OTHER_LANE)
    for _ in range(100):
        scheduler.push(0, make_chunk(), 0.0)  # sends 16 s at once
    turns = []
    now = 0.0
    for _ in range(8):
        turns.append(planned(scheduler, now))  # nobody else is there: the file runs
    for _ in range(5):
        now += CHUNK_S
        scheduler.push(1, make_chunk(), now)
        turns.append(planned(scheduler, now))
        turns.append(planned(scheduler, now))
    assert turns == [[0]] * 8 + [[1], [0]] * 5


def test_early_rows_join_only_where_padding_would_be() -> None:
    scheduler = Scheduler()
    for session_id in range(5):
        scheduler.add(session_id, LANE, LaneLimits(16_000, (1, 4, 8)))
    for session_id in (0, 1, 2):  # files, far ahead of the pace of speech
        for _ in range(10):
            scheduler.push(session_id, make_chunk(), 0.0)
    for _ in range(5):
        planned(scheduler, 0.0)
    scheduler.push(3, make_chunk(), 0.0)
    assert planned(scheduler, 0.0) == [3], "one row fills a step of one: no file makes it longer"
    scheduler.push(3, make_chunk(), 0.2)
    scheduler.push(4, make_chunk(), 0.2)
    assert planned(scheduler, 0.2) == [3, 4, 0, 1], "two rows are padded to four anyway"


def test_a_plan_tells_how_long_what_is_not_early_has_been_due() -> None:
    """What jitter brings too soon has not waited; of a file nothing is told."""
    scheduler = make_scheduler(LANE)
    chunk_s = len(make_chunk().samples) / 16_000

    def waited(came_at: float, planned_at: float) -> tuple[float, ...]:
        scheduler.push(0, make_chunk(), came_at)
        plan = scheduler.plan(planned_at)
        assert len(plan.rows) == 1
        scheduler.complete(plan, planned_at)
        return plan.waits_s

    assert waited(1.0, 1.5) == (0.5,)
    assert waited(1.0 + chunk_s - 0.05, 1.0 + chunk_s - 0.05) == (0.0,)
    at_once = [waited(5.0, 5.0) for _ in range(int(20 / chunk_s))]
    n_told = at_once.index(())
    assert set(at_once[:n_told]) == {(0.0,)}
    assert set(at_once[n_told:]) == {()}
    # As much as a stall may have held back since.
    assert n_told * chunk_s == pytest.approx(2.5, abs=3 * chunk_s)


def test_a_pause_earns_no_priority() -> None:
    """A stream that was silent for a minute is due when its audio comes, not a minute ago."""
    scheduler = make_scheduler(LANE, LANE, max_batch=1)
    scheduler.push(0, make_chunk(), 0.0)
    assert planned(scheduler, 0.0) == [0]
    scheduler.push(1, make_chunk(), 60.0)
    scheduler.push(0, make_chunk(), 60.1)
    assert planned(scheduler, 60.1) == [1]


def test_beside_another_step_a_batch_waits_a_little_to_fill_and_no_longer() -> None:
    scheduler = Scheduler(max_delay_s=0.02)
    for session_id, lane in enumerate((LANE, LANE, LANE, OTHER_LANE)):
        scheduler.add(session_id, lane, limits(2))
    scheduler.push(3, make_chunk(), 1.0)
    running = scheduler.plan(1.0)
    assert running.lane == OTHER_LANE, "an idle device waits for nobody"
    scheduler.push(0, make_chunk(), 1.0)
    plan = scheduler.plan(1.01)
    assert plan.is_empty
    assert plan.wake_at == pytest.approx(1.02)
    assert planned(scheduler, 1.02) == [0]
    scheduler.push(1, make_chunk(), 2.0)
    scheduler.push(2, make_chunk(), 2.005)
    assert planned(scheduler, 2.005) == [1, 2], "full: nothing to wait for"
    scheduler.push(0, make_chunk(), 3.0)
    assert scheduler.plan(3.0).is_empty
    scheduler.complete(running, running.began_at)
    assert planned(scheduler, 3.0) == [0], "idle again"


def test_a_lane_that_waits_keeps_no_other_from_running() -> None:
    third = Lane(14, DecoderKind.RNNT)
    scheduler = Scheduler(max_delay_s=0.02)
    for session_id, lane in enumerate((LANE, LANE, OTHER_LANE, third)):
        scheduler.add(session_id, lane, limits(8))
    scheduler.push(3, make_chunk(), 1.0)
    assert scheduler.plan(1.0).lane == third
    scheduler.push(0, make_chunk(), 1.0)
    scheduler.push(2, make_chunk(), 1.001)
    assert planned(scheduler, 1.002) == [2], "the only session of its lane waits for nobody"


def test_a_limit_holds_from_the_next_step_on() -> None:
    scheduler = make_scheduler(LANE, LANE, LANE, LANE)
    for session_id in range(4):
        scheduler.push(session_id, make_chunk(), 0.0)
    scheduler.limit(LANE, limits(2))
    scheduler.limit(OTHER_LANE, limits(2))
    assert planned(scheduler) == [0, 1]
    assert planned(scheduler) == [2, 3]


def test_a_step_of_previews_is_a_short_one() -> None:
    scheduler = make_scheduler(*[LANE] * 6, max_batch=8)
    for session_id in range(6):
        scheduler.push(session_id, make_preview(), 0.0)
    assert [planned(scheduler, 0.0) for _ in range(3)] == [[5, 4], [3, 2], [1, 0]]


def test_a_preview_that_waited_too_long_is_dropped() -> None:
    scheduler = make_scheduler(LANE, LANE)
    scheduler.push(0, make_preview(), 0.0)
    scheduler.push(1, make_preview(), 0.1)
    assert planned(scheduler, 0.12) == [1]
    assert scheduler.plan(0.12).is_empty
    chunk = make_chunk()
    scheduler.push(0, chunk, 0.2)
    assert [work for _, work in scheduler.plan(0.2).rows] == [chunk]


def test_previews_take_half_of_the_time() -> None:
    scheduler = make_scheduler(LANE, LANE, LANE)
    scheduler.push(0, make_preview(), 1.0)
    running = scheduler.plan(1.0)
    scheduler.complete(running, 1.01)
    scheduler.push(1, make_preview(), 1.01)
    plan = scheduler.plan(1.01)
    assert plan.is_empty
    assert plan.wake_at == pytest.approx(1.02)
    scheduler.push(2, make_chunk(), 1.015)
    assert planned(scheduler, 1.015) == [2], "chunks need not wait"
    assert planned(scheduler, 1.021) == [1]


def test_previews_leave_the_other_workers_to_chunks() -> None:
    scheduler = make_scheduler(LANE, LANE, LANE)
    scheduler.push(0, make_preview(), 0.0)
    running = scheduler.plan(0.0)
    scheduler.push(1, make_preview(), 0.1)
    assert scheduler.plan(0.1).is_empty
    scheduler.push(2, make_chunk(), 0.1)
    assert planned(scheduler, 0.1) == [2]
    scheduler.complete(running, running.began_at)
    assert planned(scheduler, 0.12) == [1]


def test_the_end_of_an_utterance_is_due_at_once() -> None:
    """Its last chunks come together: nobody who asked for a final is taken for a file."""
    scheduler = make_scheduler(LANE, LANE, max_batch=1)
    scheduler.push(0, make_chunk(), 10.0)
    assert planned(scheduler, 10.0) == [0]
    for _ in range(3):
        scheduler.push(0, make_chunk(), 10.01)
    scheduler.push(0, EndUtterance(1, 1), 10.01)
    turns = []
    for i in range(3):
        scheduler.push(1, make_chunk(), 10.02 + i)
        turns += planned(scheduler, 10.02 + i)
    assert turns == [0, 0, 0]
    assert planned(scheduler, 13.1) == [1]


def test_the_end_of_a_file_stays_early() -> None:
    scheduler = make_scheduler(LANE, LANE, max_batch=1)
    for _ in range(30):
        scheduler.push(0, make_chunk(), 0.0)
    scheduler.push(0, EndUtterance(1, 1), 0.0)
    assert planned(scheduler, 0.0) == [0]
    scheduler.push(1, make_chunk(), 0.1)
    assert planned(scheduler, 0.1) == [1]


def test_a_large_batch_is_shared_by_the_steps_that_may_begin() -> None:
    scheduler = make_scheduler(*[LANE] * 24, max_batch=24)
    for session_id in range(24):
        scheduler.push(session_id, make_chunk(), 0.0)
    plans = [scheduler.plan(1.0, n_idle=n_idle) for n_idle in (3, 2, 1)]
    assert [len(plan.rows) for plan in plans] == [8, 8, 8]
    assert len({session_id for plan in plans for session_id, _ in plan.rows}) == 24

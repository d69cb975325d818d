"""Whoever asks the doorkeeper, from whatever thread, hears what the stepper would say."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from siren_grpc.domain.errors import Overloaded, RefusalCause
from siren_grpc.domain.principal import ANONYMOUS_CALLER, Caller, Principal, Quota
from siren_grpc.engine.doorkeeper import Doorkeeper, Newcomer
from siren_grpc.scheduling.load import LaneWork
from siren_grpc.scheduling.plan import StepPlan
from tests.support.builders import LANE, make_chunk

HERTZ = 16_000
WORK = LaneWork(LANE, 0.16, (1, 8))
OTHERS = [replace(LANE, chunk_frames=n) for n in range(3, 60)]


def newcomer(**changes: Any) -> Newcomer:
    """A live session on a server with room in every respect."""
    what = Newcomer(
        caller=ANONYMOUS_CALLER,
        is_live=True,
        work=WORK,
        model="m",
        n_slots=8,
        n_free=8,
        n_live={},
        n_workers=1,
    )
    return replace(what, **changes)


def caller_of(number: int, **quota: float) -> Caller:
    return Caller(Principal(f"phone {number}"), Quota(**quota))  # type: ignore[arg-type]


def cause_of(error: object) -> RefusalCause | None:
    assert error is None or isinstance(error, Overloaded)
    return error and error.cause


@pytest.fixture
def doorkeeper() -> Doorkeeper:
    """Of a device on which a session of the lane is too much, unless it is alone."""
    doorkeeper = Doorkeeper(max_load=0.8)
    doorkeeper.expect(WORK, {1: 10.0, 8: 10.0})
    doorkeeper.enter(1, caller_of(0, sessions=1), 0.0)
    return doorkeeper


@pytest.mark.parametrize(
    ("changes", "cause", "if_one_leaves"),
    [
        ({}, None, None),
        ({"n_live": {LANE: 1}}, RefusalCause.TOO_MUCH, None),
        ({"n_live": {LANE: 2}}, RefusalCause.TOO_MUCH, RefusalCause.TOO_MUCH),
        ({"n_live": {LANE: 2}, "is_live": False}, None, None),
        ({"n_free": 0}, RefusalCause.SESSIONS, None),
        ({"n_free": 1, "is_live": False}, RefusalCause.LIVE_ONLY, None),
        ({"n_free": 0, "is_live": False}, RefusalCause.SESSIONS, RefusalCause.LIVE_ONLY),
        ({"caller": caller_of(0, sessions=1)}, RefusalCause.QUOTA, None),
        ({"caller": caller_of(0, sessions=0)}, RefusalCause.QUOTA, RefusalCause.QUOTA),
        ({"caller": caller_of(0, sessions=1), "n_free": 0}, RefusalCause.QUOTA, None),
    ],
)
def test_asked_before_or_at_its_turn_the_answer_is_the_same(
    doorkeeper: Doorkeeper,
    changes: dict[str, Any],
    cause: RefusalCause | None,
    if_one_leaves: RefusalCause | None,
) -> None:
    session = newcomer(**changes)
    assert cause_of(doorkeeper.refusal(replace(session, n_leaving=1), 1.0)) is if_one_leaves
    assert cause_of(doorkeeper.refusal(session, 1.0)) is cause
    assert cause_of(doorkeeper.admit(session, 1.0)) is cause


@pytest.mark.parametrize("is_live", [True, False], ids=["live", "recording"])
def test_whoever_leaves_brings_no_memory_and_no_time(
    doorkeeper: Doorkeeper, *, is_live: bool
) -> None:
    plan = StepPlan((), LANE, ((1, make_chunk()),), deadline=0.0)
    doorkeeper.note_step(plan, WORK, 5.0)
    session = newcomer(is_live=is_live, n_leaving=1 << 40)
    assert cause_of(doorkeeper.refusal(session, 5.0)) is RefusalCause.BEHIND
    doorkeeper.note_no_memory(5.0)
    assert cause_of(doorkeeper.refusal(session, 5.0)) is RefusalCause.MEMORY


@pytest.fixture
def threads_in_turns() -> Iterator[None]:
    """Threads change as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("threads_in_turns")
def test_threads_may_ask_while_the_stepper_takes_note() -> None:
    """Each note adds to what the questions go through, and takes something away."""
    doorkeeper = Doorkeeper(max_load=0.8)
    is_over = threading.Event()
    thrifty = caller_of(0, audio_s_per_day=1e9)

    def ask() -> None:
        while not is_over.is_set():
            for now in (1.0, 1e6):  # much later some of what was noted is forgotten
                doorkeeper.refusal(newcomer(caller=thrifty, n_live={LANE: 3}), now)

    with ThreadPoolExecutor() as pool:
        asking = [pool.submit(ask) for _ in range(2)]
        try:
            for number in range(200):
                work = replace(WORK, lane=replace(OTHERS[number % 50], model=str(number % 7)))
                doorkeeper.expect(work, {1: 1e-6, 8: 1e-6})
                assert doorkeeper.admit(newcomer(work=work), number * 0.01) is None
                doorkeeper.enter(number, thrifty, number)
                doorkeeper.charge(number, HERTZ, HERTZ, number * 100.0)
                doorkeeper.leave(number)
                if number % 50 == 0:
                    doorkeeper.forget(str(number % 7))
        finally:
            is_over.set()
    for each in asking:
        each.result()

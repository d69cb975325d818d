"""When chunks are due: what a network does to live audio makes it no file, and no file is live."""

from __future__ import annotations

import random

import pytest

from siren_grpc.domain.work import EndUtterance
from siren_grpc.scheduling.session_queue import Queued, SessionQueue
from tests.support.builders import LANE, make_chunk

HERTZ = 16_000
CHUNK_S = len(make_chunk().samples) / HERTZ


def queue() -> SessionQueue:
    return SessionQueue(1, LANE, is_live=True)


def pushed(session: SessionQueue, now: float) -> Queued:
    """Push a chunk, take it, and return what was queued."""
    session.push(make_chunk(), HERTZ, now)
    queued = session.head
    session.take()
    return queued


def ahead_of(session: SessionQueue, now: float) -> float:
    """Push a chunk and return for how long it is not due yet."""
    return pushed(session, now).due_at - now


def test_at_the_pace_of_speech_a_chunk_is_due_when_it_comes_and_late_with_the_next() -> None:
    session = queue()
    for i in range(100):
        queued = pushed(session, 5 + i * CHUNK_S)
        assert queued.due_at == pytest.approx(5 + i * CHUNK_S)
        assert queued.deadline == pytest.approx(5 + (i + 1) * CHUNK_S)
        assert not queued.is_early(5 + i * CHUNK_S)


@pytest.mark.parametrize("stall_s", [0.3, 1.0, 2.4])
def test_what_a_stalled_connection_brings_at_once_is_due_at_once(stall_s: float) -> None:
    session = queue()
    for i in range(20):
        ahead_of(session, i * CHUNK_S)
    behind = 20 * CHUNK_S + stall_s
    for _ in range(int(stall_s / CHUNK_S)):
        assert ahead_of(session, behind) == 0
    # And from then on it is as punctual as it was.
    for i in range(100):
        assert ahead_of(session, behind + i * CHUNK_S) < CHUNK_S


def test_who_was_away_for_longer_is_early_by_the_rest_and_comes_back_into_line() -> None:
    session = queue()
    ahead_of(session, 0.0)
    ahead = [ahead_of(session, 10.0) for _ in range(int(10 / CHUNK_S))]
    assert ahead == sorted(ahead)
    assert ahead[int(2 / CHUNK_S)] == 0
    assert ahead[-1] == pytest.approx(10 / 1.05 - 2.5, abs=2 * CHUNK_S)
    assert pushed(session, 10.0).is_early(10.0)
    for i in range(int(180 / CHUNK_S)):  # at the pace of speech
        queued = pushed(session, 10 + i * CHUNK_S)
    assert not queued.is_early(10 + i * CHUNK_S)


def test_jitter_makes_nobody_early() -> None:
    session, noise = queue(), random.Random(1)
    for i in range(1000):
        now = i * CHUNK_S + noise.uniform(0, 0.05)
        queued = pushed(session, now)
        assert queued.due_at - now <= 0.05
        assert not queued.is_early(now)


@pytest.mark.parametrize("drift", [0.98, 0.9995, 1.0005, 1.02])
def test_a_clock_that_is_not_ours_stays_at_the_pace_for_hours(drift: float) -> None:
    session = queue()
    last = 4 * 3600
    for i in range(int(last / CHUNK_S)):
        ahead = ahead_of(session, i * CHUNK_S / drift)
    assert ahead < CHUNK_S


def test_a_file_is_early_from_its_third_chunk_on() -> None:
    """However short it is: it takes what is idle, and is no load."""
    session = queue()
    for i in range(int(60 / CHUNK_S)):
        now = i * CHUNK_S / 20  # twenty times as fast as speech
        queued = pushed(session, now)
        assert queued.is_early(now) == (i >= 2)
    assert queued.due_at - now == pytest.approx(60 / 1.05 - now, abs=0.5)


def test_the_end_of_an_utterance_starts_the_clock_anew() -> None:
    session = queue()
    for _ in range(5):
        session.push(make_chunk(), HERTZ, 1.0)
    session.push(EndUtterance(0, 0), HERTZ, 1.0)
    assert session.hasten(1.0)
    while not session.is_empty:
        session.take()
    assert ahead_of(session, 1.0 + CHUNK_S) == pytest.approx(0, abs=CHUNK_S / 100)


def test_an_end_before_any_audio_hastens_nothing() -> None:
    session = queue()
    session.push(EndUtterance(0, 0), HERTZ, 1.0)
    assert not session.hasten(1.0)

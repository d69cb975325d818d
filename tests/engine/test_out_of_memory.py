"""A device without memory to open or to reset a slot costs one session, never the process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from siren_grpc.domain.errors import Overloaded, RefusalCause
from siren_grpc.domain.model import Lane
from siren_grpc.domain.results import Final, Partial, Result, StreamEnded
from siren_grpc.domain.step import StepResult, StepRow
from siren_grpc.domain.work import (
    DiscardUtterance,
    EndStream,
    EndUtterance,
    Marker,
    RestartState,
    Work,
)
from siren_grpc.engine.doorkeeper import Doorkeeper
from siren_grpc.engine.markers import carry_out
from siren_grpc.engine.messages import Delivery, Open, Push
from siren_grpc.engine.session_table import SessionTable
from siren_grpc.scheduling import admission
from tests.engine.conftest import Start
from tests.engine.test_engine import collect, finals_of, stream_work
from tests.support.arithmetic_backend import ArithmeticBackend
from tests.support.builders import LANE, make_chunk, make_preview

MARKERS = [EndUtterance(4000, 1), DiscardUtterance(4000), RestartState(4000)]


class TellingBackend(ArithmeticBackend):
    """Tells whose rows it stepped."""

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self.stepped: set[int] = set()

    def step(self, lane: Lane, rows: Sequence[StepRow]) -> list[StepResult]:
        self.stepped |= {row.slot for row in rows}
        return super().step(lane, rows)


def assert_no_memory(result: Result) -> None:
    assert isinstance(result, StreamEnded)
    assert isinstance(result.error, Overloaded)
    assert result.error.cause is RefusalCause.MEMORY
    assert result.error.retry_after_s is not None


def finals(results: list[Result]) -> list[str]:
    return [result.text for result in results if isinstance(result, Final)]


async def test_a_session_whose_slot_finds_no_memory_is_refused_alone(start: Start) -> None:
    backend = ArithmeticBackend(n_slots=3)
    engine = await start(backend)
    running = await engine.open(LANE)
    backend.no_memory_in = {1}
    with pytest.raises(Overloaded, match="out of memory") as caught:
        await engine.open(LANE)
    assert_no_memory(StreamEnded(caught.value))
    assert engine.host.counts == {"sessions": 1, "slots": 1, "closing": 0}
    backend.no_memory_in = set()
    with pytest.raises(Overloaded, match="out of memory"):  # memory does not come back at once
        await engine.open(LANE)
    await running.submit([make_chunk(1.0), EndUtterance(4000, 1), EndStream()])
    *_, final, ended = await collect(running)
    assert isinstance(final, Final)
    assert ended == StreamEnded()
    assert engine.host.is_stepping


@pytest.mark.parametrize("marker", MARKERS, ids=lambda marker: type(marker).__name__)
async def test_a_marker_that_finds_no_memory_ends_its_session_alone(
    start: Start, marker: Marker
) -> None:
    gate = threading.Event()
    backend = ArithmeticBackend(n_slots=4, gate=gate)
    engine = await start(backend)
    work: list[Work] = [make_chunk(0.5), marker, make_chunk(0.7), EndUtterance(8000, 2)]
    first, failing, last = [await engine.open(LANE) for _ in range(3)]
    backend.no_memory_in = {1}
    for session in (first, failing, last):
        await session.submit([*work, EndStream()])
    gate.set()
    told = await collect(failing)
    assert_no_memory(told[-1])
    # What stood before the marker was heard to its end: its final is not lost.
    assert len(finals(told)) == isinstance(marker, EndUtterance)
    with pytest.raises(Overloaded, match="out of memory"):
        await engine.open(LANE)
    others = [await collect(session) for session in (first, last)]
    assert [results[-1] for results in others] == [StreamEnded()] * 2
    alone = await finals_of(await start(), [*work, EndStream()])
    assert [finals(results) for results in others] == [alone] * 2
    assert engine.host.is_stepping


@pytest.mark.parametrize("is_live", [True, False], ids=["live", "recording"])
async def test_steps_go_on_behind_one_that_lost_its_only_row(start: Start, is_live: bool) -> None:
    """A row behind the marker that failed goes with its session, and the step with the row."""
    backend = TellingBackend(n_slots=2)
    engine = await start(backend)
    failing, other = [await engine.open(LANE, is_live=is_live) for _ in range(2)]
    backend.no_memory_in = {0}
    both = [DiscardUtterance(4000), make_chunk(0.5)]
    engine.host.post([Push(failing.id, work, 0.0) for work in both])  # they come to one plan
    assert_no_memory((await collect(failing))[-1])
    if is_live:  # runs only while no step is under way
        await other.submit([make_preview(0.5)])
        assert isinstance(await asyncio.wait_for(other.take(), 60), Partial)
    await other.submit([make_chunk(0.5), EndUtterance(4000, 1), EndStream()])
    assert (await collect(other))[-1] == StreamEnded()
    assert backend.stepped == {1}


def test_nothing_follows_a_marker_that_found_no_memory() -> None:
    backend = ArithmeticBackend(n_slots=2)
    sessions = SessionTable(Doorkeeper(max_load=0))
    sessions.add_model("m", backend, None)
    for session_id in (7, 8):
        sessions.admit(Open(session_id, replace(LANE, model="m")), {}, n_workers=1)
    backend.no_memory_in = {0}
    ends = [(session_id, EndStream()) for session_id in (7, 8)]
    deliveries, without_memory = carry_out(
        [(7, RestartState(1)), (8, RestartState(1)), (7, RestartState(2)), *ends], sessions
    )
    assert without_memory.keys() == {7}
    restarted, ended, *others = deliveries
    assert restarted == Delivery(7, RestartState(1))
    assert isinstance(ended.outcome, EndStream)
    assert_no_memory(StreamEnded(ended.outcome.error))
    assert others == [Delivery(8, RestartState(1)), Delivery(8, EndStream())]


@pytest.mark.parametrize("fails", ["at its opening", "at a marker"])
async def test_the_next_tenant_finds_a_slot_that_is_clean(
    start: Start, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    monkeypatch.setattr(admission, "_MEMORY_PAUSE_S", 0.0)
    backend = ArithmeticBackend(n_slots=1)
    engine = await start(backend)
    alone = await finals_of(engine, stream_work(3))
    if fails == "at its opening":
        backend.no_memory_in = {0}
        with pytest.raises(Overloaded, match="out of memory"):
            await engine.open(LANE)
    else:
        session = await engine.open(LANE)
        backend.no_memory_in = {0}
        await session.submit([make_chunk(0.5), DiscardUtterance(4000)])
        assert_no_memory((await collect(session))[-1])
        session.close()
    backend.no_memory_in = set()
    assert await finals_of(engine, stream_work(3)) == alone

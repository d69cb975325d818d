"""Phrases of sessions: made beside the steps, once for equal lists, and changed in-band."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from siren_grpc.domain.errors import InternalError, InvalidConfig, Overloaded, SirenError
from siren_grpc.domain.model import Lane
from siren_grpc.domain.phrases import Phrase, Phrases
from siren_grpc.domain.step import StepResult, StepRow
from siren_grpc.domain.work import EndStream, EndUtterance, UsePhrases
from siren_grpc.engine.heartbeat import Heartbeat
from siren_grpc.engine.phrases import PhraseStore, TreeBuilt
from siren_grpc.engine.session import EngineLimits
from siren_grpc.engine.side_worker import SideWorker
from tests.engine.test_engine import collect
from tests.support.arithmetic_backend import ArithmeticBackend
from tests.support.builders import LANE, make_chunk
from tests.support.local_engine import LocalEngine

A: Phrases = (Phrase("a"),)
B: Phrases = (Phrase("b"),)
UNWRITABLE: Phrases = (Phrase("a"), Phrase("9"))
BROKEN: Phrases = (Phrase("bug"),)


@dataclass(frozen=True)
class Tree:
    phrases: Phrases


class RecordingTrees:
    """Trees that are only counted. `gate`, when given, must be set for one to be made."""

    def __init__(self, *, room: int = 1000, gate: threading.Event | None = None) -> None:
        self.built: list[Phrases] = []
        self.builders: set[str] = set()
        self.loaded: dict[int, Phrases] = {}
        self.used: dict[int, int] = {}
        self._room, self._gate, self._next = room, gate, 0

    def build(self, phrases: Phrases) -> Tree:
        if self._gate is not None:
            assert self._gate.wait(60)
        self.built.append(phrases)
        self.builders.add(threading.current_thread().name)
        if phrases == UNWRITABLE:
            raise InvalidConfig.of_field("biasing.phrases[1].text", "the model cannot write '9'")
        if phrases == BROKEN:
            raise ZeroDivisionError
        return Tree(phrases)

    def load(self, tree: object) -> int | None:
        assert isinstance(tree, Tree)
        if len(self.loaded) == self._room:
            return None
        self._next += 1
        self.loaded[self._next] = tree.phrases
        return self._next

    def unload(self, tree_id: int) -> None:
        assert tree_id not in self.used.values(), "a slot still uses it"
        del self.loaded[tree_id]

    def use(self, slot: int, tree_id: int | None) -> None:
        self.used.pop(slot, None)
        if tree_id is not None:
            assert tree_id in self.loaded
            self.used[slot] = tree_id

    def of(self, slot: int) -> Phrases:
        return self.loaded[self.used[slot]] if slot in self.used else ()


class PhraseBackend(ArithmeticBackend):
    """Notes with which phrases each chunk was stepped, by the chunk's first sample."""

    def __init__(self, trees: RecordingTrees, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._trees = trees
        self.stepped: dict[float, Phrases] = {}

    @property
    def phrase_trees(self) -> RecordingTrees:  # type: ignore[override]
        return self._trees

    def step(self, lane: Lane, rows: Sequence[StepRow]) -> list[StepResult]:
        for row in rows:
            self.stepped[float(row.work.samples[0])] = self._trees.of(row.slot)
        return super().step(lane, rows)


@pytest.fixture
async def engines() -> AsyncIterator[list[LocalEngine]]:
    started: list[LocalEngine] = []
    yield started
    for engine in started:
        await asyncio.to_thread(engine.stop, timeout_s=60)


def start(engines: list[LocalEngine], backend: PhraseBackend) -> LocalEngine:
    engine = LocalEngine(EngineLimits(max_backlog_s=60.0, max_unsent_results=1000))
    engine.start()
    engine.add_model(backend)
    engines.append(engine)
    return engine


async def test_a_session_opens_with_its_phrases_and_keeps_them_over_utterances(
    engines: list[LocalEngine],
) -> None:
    backend = PhraseBackend(trees := RecordingTrees())
    engine = start(engines, backend)
    with_phrases, without = await engine.open(LANE, phrases=A), await engine.open(LANE)
    work = [make_chunk(1.0), EndUtterance(0, 0), make_chunk(2.0), EndStream()]
    await with_phrases.submit(work)
    await without.submit([make_chunk(3.0), EndStream()])
    await collect(with_phrases)
    await collect(without)
    assert backend.stepped == {1.0: A, 2.0: A, 3.0: ()}
    with_phrases.close()
    without.close()
    later = await engine.open(LANE)  # perhaps in the same slot
    await later.submit([make_chunk(4.0), EndStream()])
    await collect(later)
    assert backend.stepped[4.0] == ()
    assert trees.built == [A]
    assert trees.builders == {"phrases_0"}, "made where steps would wait for it"


async def test_phrases_change_where_the_change_was_submitted(engines: list[LocalEngine]) -> None:
    backend = PhraseBackend(trees := RecordingTrees(), n_parallel=2)
    session = await start(engines, backend).open(LANE)
    for value, phrases in enumerate([A, B, B, (), A, ()], 1):
        await session.submit([make_chunk(value - 0.5)])
        await session.set_phrases(phrases)
        await session.submit([make_chunk(float(value))])
    await session.submit([EndStream()])
    results = await collect(session)
    assert results[-1].error is None  # type: ignore[union-attr]
    steps = [backend.stepped[value / 2] for value in range(1, 13)]
    assert steps == [(), A, A, B, B, B, B, (), (), A, A, ()]
    assert trees.built == [A, B]


async def test_phrases_that_cannot_be_are_refused_and_those_before_stay(
    engines: list[LocalEngine],
) -> None:
    backend = PhraseBackend(RecordingTrees(), n_slots=1)
    engine = start(engines, backend)
    for phrases, error in ((UNWRITABLE, InvalidConfig), (BROKEN, InternalError)):
        with pytest.raises(error) as caught:
            await engine.open(LANE, phrases=phrases)
        if error is InvalidConfig:
            assert "phrases[1]" in caught.value.violations[0].field
    session = await engine.open(LANE, phrases=A)  # the only slot was given back, twice
    with pytest.raises(InvalidConfig):
        await session.set_phrases(UNWRITABLE)
    await session.submit([make_chunk(1.0), EndStream()])
    await collect(session)
    assert backend.stepped[1.0] == A


async def test_a_session_that_waits_for_its_phrases_delays_nobody_and_may_leave(
    engines: list[LocalEngine],
) -> None:
    gate = threading.Event()
    backend = PhraseBackend(trees := RecordingTrees(gate=gate), n_slots=2)
    engine = start(engines, backend)
    waiting = asyncio.create_task(engine.open(LANE, phrases=A))
    await asyncio.sleep(0)
    other = await engine.open(LANE)
    await other.submit([make_chunk(1.0), EndStream()])
    await collect(other)
    assert not waiting.done()
    assert engine.host.busy_since(), "the watchdog would not notice a worker that hangs"
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    again = await engine.open(LANE)  # in the slot it left
    gate.set()
    session = None
    other.close()
    session = await engine.open(LANE, phrases=A)
    await session.submit([make_chunk(2.0), EndStream()])
    await again.submit([make_chunk(3.0), EndStream()])
    await collect(session)
    await collect(again)
    assert backend.stepped == {1.0: (), 2.0: A, 3.0: ()}
    assert trees.built == [A], "what the one that left had asked for is there for the next"


async def test_who_asks_for_a_slot_behind_phrases_that_free_one_has_it(
    engines: list[LocalEngine],
) -> None:
    """Nobody is told at once that no slot is free, while word of it waits for a step."""
    tree_gate, step_gate, first_is_made = threading.Event(), threading.Event(), threading.Event()

    class TellingTrees(RecordingTrees):
        def build(self, phrases: Phrases) -> Tree:
            if phrases == B:  # the same thread makes it: it has handed over the tree before
                first_is_made.set()
            return super().build(phrases)

    backend = PhraseBackend(TellingTrees(gate=tree_gate), n_slots=3, gate=step_gate)
    engine = start(engines, backend)
    session = await engine.open(LANE)
    opening = [asyncio.create_task(engine.open(LANE, phrases=p)) for p in (UNWRITABLE, B)]
    await asyncio.sleep(0)
    await session.submit([make_chunk(1.0), EndStream()])
    assert await asyncio.to_thread(backend.is_waiting.wait, 60)
    tree_gate.set()
    assert await asyncio.to_thread(first_is_made.wait, 60)
    next_one = asyncio.create_task(engine.open(LANE))
    await asyncio.sleep(0)
    step_gate.set()
    await asyncio.wait_for(next_one, 60)
    refused, _ = await asyncio.gather(*opening, return_exceptions=True)
    assert isinstance(refused, InvalidConfig)


class Desk:
    """A store whose workers run when told."""

    def __init__(self, *, room: int = 1000) -> None:
        self.trees = RecordingTrees(room=room)
        self.posted: list[TreeBuilt] = []
        self.worker = SideWorker("phrases", Heartbeat())
        self.store = PhraseStore(self.trees, self.worker, self.posted.append)
        self.answers: dict[int, SirenError | None] = {}

    def prepare(self, session_id: int, phrases: Phrases) -> None:
        def on_ready(error: SirenError | None) -> None:
            self.answers[session_id] = error

        self.store.prepare(session_id, session_id, phrases, on_ready)

    def work(self) -> None:
        is_built = threading.Event()
        self.worker.submit(is_built.set)
        assert is_built.wait(60)
        while self.posted:
            self.store.receive(self.posted.pop(0))

    def open(self, session_id: int, phrases: Phrases) -> None:
        self.prepare(session_id, phrases)
        self.work()
        assert self.answers[session_id] is None
        self.store.use(session_id, phrases)


def numbered(number: int) -> Phrases:
    return (Phrase(f"phrase {number}"),)


def test_equal_lists_share_a_tree_that_lives_as_long_as_one_of_them() -> None:
    desk = Desk(room=1)
    desk.prepare(1, A)
    desk.prepare(2, A)
    desk.work()
    desk.store.use(1, A)
    desk.store.use(2, A)
    desk.open(3, A)
    assert desk.trees.built == [A]
    for session_id in (1, 2):
        desk.store.close(session_id)
    desk.prepare(4, B)
    desk.work()
    assert isinstance(desk.answers[4], Overloaded), "the only room is in use"
    assert desk.trees.of(3) == A
    desk.store.close(3)
    desk.open(5, B)
    assert list(desk.trees.loaded.values()) == [B]


def test_of_idle_trees_the_last_used_stay() -> None:
    desk = Desk()
    for number in range(70):
        desk.open(number, numbered(number))
    for number in range(70):
        desk.store.close(number)
    assert list(desk.trees.loaded.values()) == [numbered(n) for n in range(6, 70)]
    desk.open(100, numbered(6))
    desk.open(101, B)
    desk.store.close(101)
    assert len(desk.trees.built) == 71, "a tree was made twice"
    desk.open(102, numbered(5))
    assert desk.trees.built[-1] == numbered(5)


def test_a_list_that_was_prepared_and_never_used_is_let_go() -> None:
    desk = Desk(room=1)
    desk.prepare(1, A)
    desk.work()
    desk.store.close(1)
    desk.open(2, B)
    assert list(desk.trees.loaded.values()) == [B]


def test_a_change_crosses_processes() -> None:
    import pickle

    marker = UsePhrases((Phrase("nine", 2.5),))
    assert pickle.loads(pickle.dumps(marker)) == marker
    error = InvalidConfig.of_field("biasing.phrases[1].text", "no")
    again = pickle.loads(pickle.dumps(error))
    assert (again.message, again.violations) == (error.message, error.violations)

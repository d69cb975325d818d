"""Finals that wait for the other readings of their utterance."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import AsyncIterator

import numpy as np
import pytest

from siren_grpc.domain.readings import Alternative, Reading
from siren_grpc.domain.results import Final, Partial, Result, StreamEnded
from siren_grpc.domain.work import EndStream, Work
from siren_grpc.engine.alternatives import alternatives_of
from siren_grpc.engine.session import EngineLimits
from siren_grpc.text.detokenizer import Detokenizer
from siren_grpc.text.options import TextOptions
from tests.support.arithmetic_backend import ArithmeticBackend
from tests.support.builders import LANE, make_info, make_ingress
from tests.support.local_engine import LocalEngine

LIMITS = EngineLimits(max_backlog_s=8.0, max_unsent_results=1000)


@pytest.fixture
def backend() -> ArithmeticBackend:
    return ArithmeticBackend(max_batch=2)


@pytest.fixture
async def engine(backend: ArithmeticBackend) -> AsyncIterator[LocalEngine]:
    engine = LocalEngine(LIMITS)
    engine.start()
    engine.add_model(backend)
    yield engine
    if backend.readings.gate is not None:
        backend.readings.gate.set()
    await asyncio.to_thread(engine.stop, timeout_s=60)


def utterances(seed: int, n: int) -> list[Work]:
    ingress = make_ingress()
    noise = np.random.default_rng(seed)
    work: list[Work] = []
    for _ in range(n):
        audio = noise.integers(-3000, 3000, 12000, dtype=np.int16).tobytes()
        for piece in ingress.audio_pieces(audio, 0):
            work += piece
        work += ingress.finalize()
    return [*work, EndStream()]


async def results_of(engine: LocalEngine, seed: int, n: int, most: int) -> list[Result]:
    session = await engine.open(LANE, alternatives=most)
    submitting = asyncio.create_task(session.submit(utterances(seed, n)))
    results: list[Result] = []
    while not results or not isinstance(results[-1], StreamEnded):
        results.append(await asyncio.wait_for(session.take(), 60))
    await submitting
    session.close()
    return results


def finals(results: list[Result]) -> list[Final]:
    return [result for result in results if isinstance(result, Final)]


async def test_each_final_lists_the_readings_of_its_own_utterance(engine: LocalEngine) -> None:
    plain = finals(await results_of(engine, seed=3, n=4, most=0))
    listed = finals(await results_of(engine, seed=3, n=4, most=2))
    assert [final.text for final in listed] == [final.text for final in plain]
    for final in listed:
        (other,) = final.alternatives
        # The double reads tokens backwards, each of which is a letter.
        assert sorted(other.text.replace(" ", "")) == sorted(final.text.replace(" ", ""))
        assert other.text != final.text
        assert other.probability == pytest.approx(0.25)
    assert not any(final.alternatives for final in plain)


async def test_a_model_that_took_another_s_place_has_them_too() -> None:
    engine = LocalEngine(LIMITS)
    engine.start()
    engine.add_model(ArithmeticBackend(max_batch=2), generation=1)
    assert all(final.alternatives for final in finals(await results_of(engine, 3, n=2, most=2)))
    await asyncio.to_thread(engine.stop, timeout_s=60)


async def test_what_follows_a_final_waits_for_its_search(
    engine: LocalEngine, backend: ArithmeticBackend
) -> None:
    backend.readings.gate = threading.Event()
    session = await engine.open(LANE, alternatives=1)
    await session.submit(utterances(5, 3))
    other = await results_of(engine, seed=6, n=1, most=0)
    assert finals(other), "a stream without alternatives waited for another's search"
    before = [await asyncio.wait_for(session.take(), 60)]
    while True:
        try:
            before.append(await asyncio.wait_for(session.take(), 0.2))
        except asyncio.TimeoutError:
            break
    assert not finals(before)
    backend.readings.gate.set()
    after: list[Result] = []
    while not after or not isinstance(after[-1], StreamEnded):
        after.append(await asyncio.wait_for(session.take(), 60))
    assert len(finals(after)) == 3
    assert isinstance(after[0], Final)
    # Partials that waited were conflated: one of them between two finals at most.
    kinds = "".join("P" if isinstance(result, Partial) else "F" for result in after[:-1])
    assert "PP" not in kinds
    session.close()


async def test_a_search_that_fails_costs_no_final(
    engine: LocalEngine, backend: ArithmeticBackend
) -> None:
    plain = finals(await results_of(engine, seed=7, n=2, most=0))
    backend.readings.fails = True
    failed = finals(await results_of(engine, seed=7, n=2, most=3))
    assert [final.text for final in failed] == [final.text for final in plain]
    assert not any(final.alternatives for final in failed)


async def test_a_closed_session_leaves_no_frames_to_the_next_tenant(
    engine: LocalEngine, backend: ArithmeticBackend
) -> None:
    await results_of(engine, seed=8, n=1, most=1)
    await results_of(engine, seed=9, n=1, most=0)  # the stepper has taken the first's end in
    assert not any(backend.readings.heard)


async def test_text_options_hold_for_alternatives(engine: LocalEngine) -> None:
    plain = finals(await results_of(engine, seed=4, n=1, most=1))[0]
    word = plain.alternatives[0].text.split()[0]
    session = await engine.open(
        LANE, TextOptions(masked_words=frozenset({word.lower()})), alternatives=1
    )
    await session.submit(utterances(4, 1))
    while not isinstance(result := await asyncio.wait_for(session.take(), 60), Final):
        pass
    session.close()
    assert word not in result.alternatives[0].text.split()
    assert result.alternatives[0].text.split()[0].endswith("*")


def test_readings_of_the_same_text_are_one() -> None:
    info = make_info()
    detokenizer = Detokenizer(info.token_texts, info.punctuation)
    readings = [
        Reading((26, 1), math.log(0.5)),
        Reading((26, 2), math.log(0.2)),
        Reading((26, 2), math.log(0.2)),
        Reading((26, 3), math.log(0.1)),
        Reading((), math.log(1e-9)),
    ]
    (first, second) = alternatives_of("ab", readings, detokenizer, most=5)
    assert (first.text, second.text) == ("ac", "ad")
    assert first.probability == pytest.approx(0.4)
    assert second.probability == pytest.approx(0.1)
    assert alternatives_of("ab", readings, detokenizer, most=1) == (first,)
    assert alternatives_of("ab", [], detokenizer, most=1) == ()
    assert all(isinstance(other, Alternative) for other in (first, second))

"""The engine with real threads and an arithmetic backend."""

from __future__ import annotations

import asyncio
import random
import threading
from dataclasses import replace
from time import monotonic
from typing import NoReturn

import numpy as np
import pytest

from siren_grpc.domain.endpointing import EndpointDetector, EndpointRules, FinalCause
from siren_grpc.domain.errors import InternalError, InvalidConfig, ModelError, Overloaded
from siren_grpc.domain.model import DEFAULT_MODEL_OPTIONS, Lane, ModelOptions
from siren_grpc.domain.results import Final, Partial, Reconfigured, Result, SpeechEvent, StreamEnded
from siren_grpc.domain.work import EndStream, EndUtterance, StreamOptions, Work
from siren_grpc.engine.session import EngineLimits, EngineSession
from tests.engine.conftest import LIMITS, Start
from tests.support.arithmetic_backend import POISON, ArithmeticBackend
from tests.support.builders import LANE, make_chunk, make_ingress, make_preview
from tests.support.local_engine import LocalEngine


async def collect(session: EngineSession) -> list[Result]:
    results = []
    while True:
        result = await asyncio.wait_for(session.take(), 60)
        results.append(result)
        if isinstance(result, StreamEnded):
            return results


def noise(seed: int, n_samples: int) -> bytes:
    generator = np.random.default_rng(seed)
    return generator.integers(-3000, 3000, n_samples, dtype=np.int16).tobytes()


def stream_work(seed: int) -> list[Work]:
    """The work of a stream with two utterances, cut at random."""
    draw = random.Random(seed)
    ingress = make_ingress(preview_samples=800, padding_samples=2000)
    work: list[Work] = []
    for _ in range(2):
        pcm = noise(seed, 3000 + seed % 5 * 4000)
        start = 0
        while start < len(pcm):
            size = draw.randint(1, 6000)
            work += ingress.receive_audio(pcm[start : start + size], 0)
            start += size
        work += ingress.finalize()
    return [*work, *ingress.end()]


async def finals_of(
    engine: LocalEngine,
    work: list[Work],
    lane: Lane = LANE,
    asked: ModelOptions = DEFAULT_MODEL_OPTIONS,
) -> list[str]:
    session = await engine.open(lane, model_options=asked)
    try:
        submitting = asyncio.create_task(session.submit(work))
        results = await collect(session)
        await submitting
        assert results[-1] == StreamEnded()
        return [result.text for result in results if isinstance(result, Final)]
    finally:
        session.close()


async def test_many_at_once_are_each_what_they_are_alone(start: Start) -> None:
    engine = await start(ArithmeticBackend(n_slots=17, max_batch=5))
    works = [stream_work(seed) for seed in range(16)]
    alone = [await finals_of(engine, work) for work in works]
    together = await asyncio.gather(*(finals_of(engine, work) for work in works))
    assert together == alone
    assert all(len(finals) == 3 for finals in together)
    assert len({tuple(finals) for finals in together}) > 10


async def test_languages_share_a_step_and_last_from_utterance_to_utterance(start: Start) -> None:
    engine = await start(ArithmeticBackend(n_slots=8, max_batch=6))
    work = stream_work(3)
    options = [ModelOptions(code) for code in ("en", "de-DE") * 3]
    english, german = [await finals_of(engine, work, asked=option) for option in options[:2]]
    assert english[0] == english[1], "the end keeps the language"
    assert german[0] == german[1] != english[0]
    together = await asyncio.gather(*(finals_of(engine, work, asked=o) for o in options))
    assert together == [english, german] * 3


async def test_options_the_model_does_not_offer_are_refused_and_take_no_slot(start: Start) -> None:
    engine = await start(ArithmeticBackend(n_slots=1))
    for _ in range(3):
        with pytest.raises(InvalidConfig, match="use en, de-DE"):
            await engine.open(LANE, model_options=ModelOptions("fr"))
    assert len(await finals_of(engine, stream_work(3))) == 3


async def test_sessions_ready_at_once_share_a_step(start: Start) -> None:
    gate = threading.Event()
    backend = ArithmeticBackend(n_slots=6, max_batch=6, gate=gate)
    engine = await start(backend)
    sessions = [await engine.open(LANE) for _ in range(6)]
    for session in sessions:
        await session.submit([make_chunk(1.0), make_chunk(2.0), EndStream()])
    gate.set()
    for session in sessions:
        await collect(session)
    assert backend.largest_batch >= 5


async def test_a_slots_next_tenant_finds_nothing_of_the_last(start: Start) -> None:
    engine = await start(ArithmeticBackend(n_slots=1))
    work = stream_work(3)
    first = await finals_of(engine, work)
    for seed in range(20):
        session = await open_when_free(engine)
        await session.submit([make_chunk(float(seed))])
        session.close()  # mid-stream, its work perhaps still queued
    session = await open_when_free(engine)
    session.close()
    await open_when_free(engine, then_close=True)
    assert await finals_when_free(engine, work) == first


@pytest.mark.parametrize("control", ["finalize", "reset"])
async def test_an_utterance_finds_nothing_of_the_one_before(start: Start, control: str) -> None:
    engine = await start()
    pcm = noise(7, 9000)
    fresh, second = make_ingress(), make_ingress()
    work = [*second.receive_audio(noise(8, 12_000), 0), *getattr(second, control)()]
    work += [*second.receive_audio(pcm, 0), *second.end()]
    alone = await finals_of(engine, [*fresh.receive_audio(pcm, 0), *fresh.end()])
    assert (await finals_of(engine, work))[-1:] == alone
    assert alone != [""]


async def open_when_free(engine: LocalEngine, *, then_close: bool = False) -> EngineSession:
    """Open as soon as the stepper has freed the slot: it says so through the event loop."""
    for _ in range(1_000_000):
        try:
            session = await engine.open(LANE)
        except Overloaded:
            await asyncio.sleep(0)
            continue
        if then_close:
            session.close()
        return session
    raise AssertionError("the slot never came free")


async def finals_when_free(engine: LocalEngine, work: list[Work]) -> list[str]:
    for _ in range(1_000_000):
        try:
            return await finals_of(engine, work)
        except Overloaded:
            await asyncio.sleep(0)
    raise AssertionError("the slot never came free")


async def test_one_session_too_many_is_refused_until_one_closes(start: Start) -> None:
    engine = await start(ArithmeticBackend(n_slots=2))
    first, second = await engine.open(LANE), await engine.open(LANE)
    with pytest.raises(Overloaded, match="all 2 sessions") as caught:
        await engine.open(LANE)
    assert caught.value.retry_after_s is not None
    first.close()
    first.close()
    third = await open_when_free(engine)
    with pytest.raises(Overloaded):
        await engine.open(LANE)
    second.close()
    third.close()


async def test_a_failing_row_ends_its_session_alone(start: Start) -> None:
    gate = threading.Event()
    engine = await start(ArithmeticBackend(n_slots=3, gate=gate))
    sessions = [await engine.open(LANE) for _ in range(3)]
    values = [1.0, POISON, 2.0]
    for session, value in zip(sessions, values, strict=True):
        await session.submit([make_chunk(value), make_chunk(0.5), EndStream()])
    gate.set()
    outcomes = [await collect(session) for session in sessions]
    errors = [outcome[-1] for outcome in outcomes]
    assert errors[0] == errors[2] == StreamEnded()
    assert isinstance(errors[1], StreamEnded)
    assert isinstance(errors[1].error, ModelError)
    assert "poisoned" not in errors[1].error.message, "causes go to the log, not to the client"
    for session in sessions:
        session.close()
    # The batch that failed changed nothing: the mates' text is what it is alone.
    for index in (0, 2):
        alone = await start(ArithmeticBackend(n_slots=1))
        session = await alone.open(LANE)
        await session.submit([make_chunk(values[index]), make_chunk(0.5), EndStream()])
        texts = [r.text for r in await collect(session) if isinstance(r, Partial)]
        assert [r.text for r in outcomes[index] if isinstance(r, Partial)][-1] == texts[-1]
        session.close()


async def test_submitting_waits_while_too_much_is_under_way(start: Start) -> None:
    gate = threading.Event()
    engine = await start(ArithmeticBackend(gate=gate))
    session = await engine.open(LANE)
    work = [make_chunk(1.0) for _ in range(40)]  # 160 ms each; the bound is 2 s
    submitting = asyncio.create_task(session.submit([*work, EndStream()]))
    for _ in range(1000):
        await asyncio.sleep(0)
    assert not submitting.done()
    gate.set()
    await collect(session)
    await submitting
    session.close()


async def test_submitting_waits_while_results_are_not_read(start: Start) -> None:
    limits = EngineLimits(max_backlog_s=1000, max_unsent_results=5)
    engine = await start(limits=limits)
    session = await engine.open(LANE)
    ingress = make_ingress()
    work = [item for _ in range(200) for item in ingress.finalize()]
    submitted: list[Work] = []

    async def submit() -> None:
        for item in [*work, *ingress.end()]:
            await session.submit([item])
            submitted.append(item)

    submitting = asyncio.create_task(submit())
    results: list[Result] = []
    while not isinstance(result := await asyncio.wait_for(session.take(), 60), StreamEnded):
        results.append(result)
        # Another session's whole round trip gives this one's every chance to run ahead.
        if len(results) % 50 == 1:
            await finals_of(engine, stream_work(1))
            # 5 unread, and 5 that were under way when they came.
            assert len(submitted) - len(results) <= 2 * 5
    await submitting
    finals = [result for result in results if isinstance(result, Final)]
    assert finals == results
    assert [final.cause for final in finals] == [FinalCause.FINALIZE] * 200 + [FinalCause.END]
    assert all(final.heard_at is not None for final in finals)
    session.close()


async def test_a_single_utterance_is_the_first_that_ends_behind_its_update(start: Start) -> None:
    """A final that is on its way when the update is submitted is of the options before."""
    gate = threading.Event()
    engine = await start(ArithmeticBackend(gate=gate))
    session = await engine.open(LANE)
    rules = EndpointRules(EndpointDetector.DECODER, min_silence_ms=None, is_single=True)
    ingress = make_ingress()
    work = [*ingress.receive_audio(noise(1, 4000), 0), *ingress.finalize()]
    work += ingress.reconfigure(StreamOptions(rules))
    work += [*ingress.finalize(), *ingress.finalize(), *ingress.end()]
    submitting = asyncio.create_task(session.submit(work))
    for _ in range(1000):
        await asyncio.sleep(0)
    gate.set()
    told = [r for r in await collect(session) if not isinstance(r, Partial | SpeechEvent)]
    assert [type(result) for result in told] == [Final, Reconfigured, Final, StreamEnded]
    await submitting
    session.close()


async def test_a_wait_for_room_ends_with_the_session(start: Start) -> None:
    """A stream that failed leaves no one to make room: what is submitted to it goes nowhere."""
    gate = threading.Event()
    engine = await start(ArithmeticBackend(gate=gate))
    session = await engine.open(LANE)
    submitting = asyncio.create_task(session.submit([make_chunk(POISON)] * 40))
    gate.set()
    ended = (await collect(session))[-1]
    assert isinstance(ended, StreamEnded)
    assert isinstance(ended.error, ModelError)
    assert await asyncio.wait_for(submitting, 60) is None
    session.close()
    assert await finals_when_free(engine, stream_work(2)) == await finals_of(engine, stream_work(2))


async def test_a_wait_for_a_hard_endpoint_ends_with_the_session(start: Start) -> None:
    """Whoever closes a session takes nothing from it: no outcome will end the wait."""
    gate = threading.Event()
    backend = ArithmeticBackend(gate=gate)
    engine = await start(backend)
    rules = EndpointRules(EndpointDetector.DECODER, min_silence_ms=500, is_hard=True)
    session = await engine.open(LANE, options=StreamOptions(rules))
    submitting = asyncio.create_task(session.submit([make_chunk(1.0), make_chunk(1.0)]))
    await asyncio.to_thread(backend.is_waiting.wait, 60)
    session.close()
    gate.set()
    assert await asyncio.wait_for(submitting, 60) is None


async def test_a_session_whose_text_cannot_be_built_fails_alone(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault behind the steps, too, has one stream to answer for it."""
    engine = await start(ArithmeticBackend(n_slots=3))
    broken, other = await engine.open(LANE), await engine.open(LANE)

    def fail(*_: object, **__: object) -> NoReturn:
        raise RuntimeError("no text")

    monkeypatch.setattr(broken._recognition, "results_of", fail)
    for session in (broken, other):
        await session.submit([make_chunk(0.5), EndUtterance(10_000, 1), EndStream()])
    assert isinstance((await collect(other))[-2], Final)
    (ended,) = await collect(broken)
    assert isinstance(ended, StreamEnded)
    assert isinstance(ended.error, InternalError)


async def test_a_preview_that_fails_ends_its_session_alone(start: Start) -> None:
    engine = await start()
    session, other = await engine.open(LANE), await engine.open(LANE)
    await session.submit([make_preview(POISON)])
    ended = (await collect(session))[-1]
    assert isinstance(ended, StreamEnded)
    assert isinstance(ended.error, ModelError)
    await other.submit([make_preview(0.5), make_chunk(0.5), EndStream()])
    assert (await collect(other))[-1] == StreamEnded()


async def test_previews_leave_no_trace_in_finals(start: Start) -> None:
    engine = await start()
    chunks: list[Work] = [make_chunk(value / 10) for value in range(8)]
    end: list[Work] = [EndUtterance(10_000, 1), EndStream()]
    expected = await finals_of(engine, [*chunks, *end])
    session = await engine.open(LANE)
    for chunk in chunks:
        await session.submit([make_preview(0.7)])
        while not isinstance(result := await asyncio.wait_for(session.take(), 60), Partial):
            pass
        assert result.stable_len < len(result.text), "a preview alone moves only what may change"
        await session.submit([chunk])
        while not isinstance(result := await asyncio.wait_for(session.take(), 60), Partial):
            pass
        assert result.stable_len == len(result.text)
    await session.submit(end)
    finals = [result.text for result in await collect(session) if isinstance(result, Final)]
    assert finals == expected


@pytest.mark.parametrize("seed", range(4))
async def test_sessions_that_vanish_at_any_moment_disturb_no_other(start: Start, seed: int) -> None:
    draw = random.Random(seed)
    engine = await start(ArithmeticBackend(n_slots=8, max_batch=3))
    works = [stream_work(number) for number in range(4)]
    expected = [await finals_of(engine, work) for work in works]

    async def vanish() -> None:
        for _ in range(15):
            session = await open_when_free(engine)
            work = draw.choice(works)
            submitting = asyncio.create_task(session.submit(work[: draw.randrange(len(work))]))
            for _ in range(draw.randrange(20)):
                await asyncio.sleep(0)
            session.close()
            submitting.cancel()
            await asyncio.gather(submitting, return_exceptions=True)

    vanishing = [asyncio.create_task(vanish()) for _ in range(4)]
    for _ in range(4):
        assert await asyncio.gather(*(finals_when_free(engine, work) for work in works)) == expected
    await asyncio.gather(*vanishing)
    assert engine.n_sessions == 0
    # Every slot came back.
    sessions = [await open_when_free(engine) for _ in range(8)]
    with pytest.raises(Overloaded):
        await engine.open(LANE)
    for session in sessions:
        session.close()


async def test_a_dead_engine_opens_nothing(start: Start) -> None:
    backend = ArithmeticBackend()
    engine = await start(backend)
    backend.dies = True
    with pytest.raises(InternalError) as caught:  # it dies of resetting the session's slot
        await engine.open(LANE)
    assert "device" not in caught.value.message, "causes go to the log, not to the client"
    with pytest.raises(InternalError):
        await engine.open(LANE)


async def test_stopping_ends_the_thread_with_sessions_open(start: Start) -> None:
    engine = await start()
    session = await engine.open(LANE)
    await session.submit([make_chunk(1.0)])
    await asyncio.to_thread(engine.stop, timeout_s=60)
    assert not engine.host.is_stepping
    with pytest.raises(asyncio.TimeoutError):  # nobody needs to replace the process
        await asyncio.wait_for(engine.host.wait_dead(), 0.1)
    session.close()


async def test_a_dead_stepper_tells_everyone(start: Start) -> None:
    gate = threading.Event()
    backend = ArithmeticBackend(gate=gate)
    engine = await start(backend)
    session, other = await engine.open(LANE), await engine.open(LANE)
    ingress = make_ingress()
    backend.dies = True
    await session.submit([*ingress.receive_audio(noise(1, 9000), 0), *ingress.finalize()])
    gate.set()
    for dead in (session, other):
        ended = (await collect(dead))[-1]
        assert isinstance(ended, StreamEnded)
        assert isinstance(ended.error, InternalError)
    await asyncio.wait_for(engine.host.wait_dead(), 60)


async def test_results_for_a_closed_session_go_nowhere(start: Start) -> None:
    gate = threading.Event()
    engine = await start(ArithmeticBackend(gate=gate))
    session = await engine.open(LANE)
    await session.submit([make_chunk(1.0)])
    session.close()
    gate.set()
    (await open_when_free(engine)).close()
    assert engine.n_sessions == 0


async def test_models_run_beside_each_other_in_lanes_of_their_own(start: Start) -> None:
    engine = await start(ArithmeticBackend(n_slots=4))
    other = ArithmeticBackend(n_slots=4, name="other")
    engine.add_model(other)
    assert [info.id for info in engine.models] == ["test-model", "other"]
    with pytest.raises(ValueError, match="other is in service already"):
        engine.add_model(other)
    works = [stream_work(seed) for seed in range(6)]
    lanes = [LANE, replace(LANE, model="other")] * 3
    alone = [await finals_of(engine, work, lane) for work, lane in zip(works, lanes, strict=True)]
    together = await asyncio.gather(
        *(finals_of(engine, work, lane) for work, lane in zip(works, lanes, strict=True))
    )
    assert together == alone
    assert other.largest_batch >= 1


async def test_a_model_goes_when_its_last_session_has_ended(start: Start) -> None:
    engine = await start()
    engine.add_model(ArithmeticBackend(name="other"))
    lane = replace(LANE, model="other")
    session = await engine.open(lane)
    retiring = asyncio.create_task(engine.retire_model("other"))
    await asyncio.sleep(0)
    assert [info.id for info in engine.models] == ["test-model"]
    with pytest.raises(KeyError):
        await engine.open(lane)
    await session.submit([make_chunk(1.0), EndUtterance(1, 1), EndStream()])
    assert any(isinstance(result, Final) for result in await collect(session))
    assert not retiring.done()
    session.close()
    await asyncio.wait_for(retiring, 60)
    engine.add_model(ArithmeticBackend(name="other"))
    assert len(await finals_of(engine, stream_work(1), lane)) == 3


async def test_a_batch_too_large_for_the_memory_is_halved(start: Start) -> None:
    gate = threading.Event()
    backend = ArithmeticBackend(n_slots=8, max_batch=8, gate=gate)
    backend.most_rows = 3
    engine = await start(backend)
    works = [stream_work(seed) for seed in range(8)]
    sessions = [await engine.open(LANE) for _ in works]
    both = zip(sessions, works, strict=True)
    submitting = [asyncio.create_task(session.submit(work)) for session, work in both]
    while not all(session.oldest_chunk_at for session in sessions):  # noqa: ASYNC110 (nobody tells)
        await asyncio.sleep(0)
    gate.set()  # all eight wait there
    together = [
        [result.text for result in await collect(session) if isinstance(result, Final)]
        for session in sessions
    ]
    await asyncio.gather(*submitting)
    for session in sessions:
        session.close()
    assert together == [await finals_of(engine, work) for work in works]
    assert backend.largest_batch <= 3
    assert max(backend.n_tried) > 3, "it was too large"
    backend.n_tried.clear()
    gate.clear()
    sessions = [await engine.open(LANE) for _ in works]
    for session in sessions:
        await session.submit([make_chunk(1.0), EndStream()])
    gate.set()
    for session in sessions:
        await collect(session)
    assert max(backend.n_tried) <= 3, "no larger ones are tried from then on"


async def test_without_memory_for_one_row_sessions_are_refused(start: Start) -> None:
    backend = ArithmeticBackend()
    backend.most_rows = 0
    engine = await start(backend)
    session = await engine.open(LANE)
    await session.submit([make_chunk(1.0)])
    (ended,) = await collect(session)
    assert isinstance(ended, StreamEnded)
    assert isinstance(ended.error, Overloaded)
    with pytest.raises(Overloaded, match="out of memory") as caught:
        await engine.open(LANE)
    assert caught.value.retry_after_s is not None
    assert engine.host.is_stepping


async def test_behind_real_time_no_session_is_opened(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = await start()
    session = await engine.open(LANE)
    # Audio that came so long ago that a chunk of 160 ms is more than two seconds late.
    monkeypatch.setattr("siren_grpc.engine.session.monotonic", lambda: monotonic() - 2.5)
    await session.submit([make_chunk(1.0), make_chunk(2.0)])
    assert isinstance(await asyncio.wait_for(session.take(), 60), Partial | SpeechEvent)
    with pytest.raises(Overloaded, match="fallen behind real time") as caught:
        await engine.open(LANE)
    assert caught.value.retry_after_s is not None
    await session.submit([EndUtterance(1, 1), EndStream()])
    assert any(isinstance(result, Final) for result in await collect(session))


async def test_a_slot_is_nobody_elses_until_the_step_that_has_it_ends() -> None:
    gate = threading.Event()
    backend = ArithmeticBackend(n_slots=1, gate=gate, n_parallel=2)
    engine = LocalEngine(LIMITS)
    engine.start()
    try:
        engine.add_model(backend)
        left = await engine.open(LANE)
        await left.submit([make_chunk(1.0)])
        assert await asyncio.to_thread(backend.is_waiting.wait, 60)
        left.close()
        with pytest.raises(Overloaded):
            await engine.open(LANE)
        assert engine.host.counts["closing"] == 1
        gate.set()
        await open_when_free(engine, then_close=True)
    finally:
        gate.set()
        await asyncio.to_thread(engine.stop, timeout_s=60)

"""Text options between recognition and outbox, with a normaliser that is made to wait."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np
import pytest

from siren_grpc.domain.errors import InternalError
from siren_grpc.domain.results import (
    Final,
    Partial,
    Result,
    SpeechEvent,
    SpeechEventKind,
    StreamEnded,
    Word,
)
from siren_grpc.engine.presentation import Presentation
from siren_grpc.engine.session import EngineLimits
from siren_grpc.text.normalisation import Span, Task, Written, write
from siren_grpc.text.options import TextOptions
from tests.support.arithmetic_backend import ArithmeticBackend
from tests.support.builders import LANE, make_ingress
from tests.support.local_engine import LocalEngine

EVENT = SpeechEvent(SpeechEventKind.SPEECH_STARTED, 5)
WRITTEN = TextOptions(written_language="en")


class Shouting:
    """A grammar that writes `one` in capitals."""

    def spans(self, words: Sequence[str]) -> Sequence[Span]:
        return [Span(1, "ONE" if word == "one" else None) for word in words]


class SlowNormaliser:
    """Writes nothing while its gate is closed."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.asked = asyncio.Event()
        self.tasks: list[Task] = []

    async def prepare(self, language: str) -> None: ...

    async def write(self, language: str, task: Task) -> Written:
        self.tasks.append(task)
        self.asked.set()
        await self.gate.wait()
        if any(part.word == "poison" for part in task.new):
            raise InternalError("the normaliser is gone")
        return write(task, Shouting())


def partial(text: str, stable_len: int) -> Partial:
    return Partial(text, stable_len, 1, 100)


def final(text: str, spoken_text: str = "") -> Final:
    return Final(text, 1, 0, 100, spoken_text=spoken_text)


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def test_words_are_changed_as_their_text_is() -> None:
    """A masked word is told nowhere, nor is a mark that small letters leave out."""
    delivered: list[Result] = []
    masks = TextOptions(is_lower_case=True, masked_words=frozenset({"damn"}))
    presentation = Presentation(masks, delivered.extend)
    spoken = "Well, - Damn it Da"
    words = tuple(Word(text, i, i + 1, 0.5) for i, text in enumerate(spoken.split()))
    presentation.push([Partial(spoken, len(spoken), 1, 10, words)])
    presentation.push([Final(spoken, 1, 0, 10, words=words, confidence=0.5)])
    partial, final = delivered
    assert isinstance(partial, Partial)
    assert isinstance(final, Final)
    for result in (partial, final):
        assert [word.text for word in result.words] == ["well", "d***", "it", "da"]
        assert " ".join(word.text for word in result.words) == result.text
        assert [word.start_samples for word in result.words] == [0, 2, 3, 4]
    # The last one may still grow into a word that is masked.
    assert [word.is_stable for word in partial.words] == [True, True, True, False]
    assert all(word.is_stable for word in final.words)


def test_spoken_text_is_changed_at_once() -> None:
    delivered: list[Result] = []
    options = TextOptions(is_lower_case=True, masked_words=frozenset({"damn"}))
    presentation = Presentation(options, delivered.extend)
    presentation.push([partial("Damn", 4), EVENT])
    presentation.push([partial("Damn", 4)])
    presentation.push([partial("Damn,", 5)])
    presentation.push([final("Damn, yes.")])
    presentation.push([partial("Damn", 4)])
    presentation.restart()
    presentation.push([partial("Yes", 3)])
    presentation.close()
    assert delivered == [
        partial("d***", 0),
        EVENT,
        partial("d***", 4),
        final("d*** yes"),
        partial("d***", 0),
        partial("yes", 3),
    ]


async def test_results_stay_in_order_and_partials_are_conflated_while_it_writes() -> None:
    delivered: list[Result] = []
    normaliser = SlowNormaliser()
    presentation = Presentation(WRITTEN, delivered.extend, normaliser)
    presentation.push([partial("a", 1)])
    await settle()
    for text in ("a one", "a one b", "a one b c"):
        presentation.push([partial(text, len(text))])
    presentation.push([EVENT, final("a one b c")])
    presentation.push([partial("d", 1)])
    presentation.restart()
    presentation.push([partial("one", 3), StreamEnded()])
    await settle()
    assert delivered == []
    assert len(normaliser.tasks) == 1
    normaliser.gate.set()
    await settle()
    assert delivered == [
        partial("a", 0),
        partial("a ONE b c", 0),
        EVENT,
        final("a ONE b c", spoken_text="a one b c"),
        partial("d", 0),
        partial("ONE", 0),
        StreamEnded(),
    ]
    presentation.close()


async def test_small_letters_and_masks_come_before_written_forms() -> None:
    delivered: list[Result] = []
    normaliser = SlowNormaliser()
    normaliser.gate.set()
    options = TextOptions(True, frozenset({"damn"}), "en")
    presentation = Presentation(options, delivered.extend, normaliser)
    presentation.push([final("Damn One, two."), final("Two.")])
    await settle()
    assert delivered == [final("d*** ONE two", spoken_text="d*** one two"), final("two")]
    presentation.close()


async def test_a_stream_whose_text_cannot_be_written_ends_with_an_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    delivered: list[Result] = []
    normaliser = SlowNormaliser()
    normaliser.gate.set()
    presentation = Presentation(WRITTEN, delivered.extend, normaliser)
    presentation.push([final("one"), final("poison"), final("one")])
    await settle()
    first, ended = delivered
    assert first == final("ONE", spoken_text="one")
    assert isinstance(ended, StreamEnded)
    assert isinstance(ended.error, InternalError)
    assert "the normaliser is gone" in caplog.text
    presentation.close()


async def test_a_closed_one_delivers_nothing_more() -> None:
    delivered: list[Result] = []
    normaliser = SlowNormaliser()
    presentation = Presentation(WRITTEN, delivered.extend, normaliser)
    presentation.push([final("one")])
    await settle()
    presentation.close()
    normaliser.gate.set()
    await settle()
    assert delivered == []


async def test_no_more_is_taken_while_too_many_finals_wait_to_be_written() -> None:
    normaliser = SlowNormaliser()
    engine = LocalEngine(EngineLimits(max_backlog_s=1000, max_unsent_results=5), normaliser)
    engine.start()
    engine.add_model(ArithmeticBackend())
    session = await engine.open(LANE, WRITTEN)
    ingress = make_ingress()
    submitted = 0

    async def submit() -> None:
        nonlocal submitted
        for _ in range(40):
            voice = np.full(2560, 0.1, "<f4")
            await session.submit(ingress.receive_audio((voice * 9000).astype("<i2").tobytes(), 0))
            await session.submit(ingress.finalize())
            submitted += 1
        await session.submit(ingress.end())

    submitting = asyncio.create_task(submit())
    await asyncio.wait_for(normaliser.asked.wait(), 60)
    # Another session's whole round trip gives this one's every chance to run ahead.
    for _ in range(10):
        other = await engine.open(LANE)
        await other.submit(make_ingress().end())
        while not isinstance(await asyncio.wait_for(other.take(), 60), StreamEnded):
            pass
        other.close()
    assert submitted < 20
    normaliser.gate.set()
    n_finals = 0
    while not isinstance(result := await asyncio.wait_for(session.take(), 60), StreamEnded):
        n_finals += isinstance(result, Final)
    assert n_finals == 41
    await submitting
    session.close()
    await asyncio.to_thread(engine.stop, timeout_s=60)

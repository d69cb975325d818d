"""From recognised text to the text a client asked for, result by result, in order."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from siren_grpc.domain.errors import InternalError
from siren_grpc.domain.readings import distinct
from siren_grpc.domain.results import Final, Partial, Result, StreamEnded, Word
from siren_grpc.text.normalisation import Task, Written
from siren_grpc.text.options import TextOptions
from siren_grpc.text.spoken_form import SpokenForm
from siren_grpc.text.written_form import Shown, Writing, WrittenForm

_log = logging.getLogger(__name__)
_FAILED = "inverse text normalisation failed; the cause is in the server's log. Try without it"

Deliver = Callable[[Sequence[Result]], None]


class Normaliser(Protocol):
    """Writes words elsewhere: it takes milliseconds, too long for an event loop."""

    async def prepare(self, language: str) -> None:
        """Return when a language can be written. Raises InternalError."""

    async def write(self, language: str, task: Task) -> Written:
        """Write words of a prepared language. Raises InternalError."""


@dataclass(frozen=True, slots=True)
class _Restart:
    """The utterance was discarded here."""


class Presentation:
    """Stands between a stream's `Utterance` and its outbox, if its text is to be changed.

    Small letters and masked words are made at once. Written forms are a task's affair: while one
    result is written the newest partial behind it waits and replaces older ones, finals and events
    queue. Which words are settled does not depend on that.
    """

    def __init__(
        self, options: TextOptions, deliver: Deliver, normaliser: Normaliser | None = None
    ) -> None:
        """Start the first utterance.

        deliver: takes the results as the client sees them. normaliser: has prepared
        `options.written_language`, if there is one.
        """
        self._options = options
        self._deliver = deliver
        self._spoken = SpokenForm(options) if options.changes_spoken_form else None
        self._sent: Shown = ("", 0)
        self._writer: asyncio.Task[None] | None = None
        self._written = WrittenForm(options.written_language)
        self._queue: deque[Result | _Restart] = deque()
        self._has_more = asyncio.Event()
        if options.written_language:
            if normaliser is None:
                raise AssertionError("nobody can write; the config should have been refused")
            self._writer = asyncio.create_task(self._write_all(normaliser), name="write")

    @property
    def n_waiting(self) -> int:
        """Results that are not written yet."""
        return len(self._queue)

    def push(self, results: Sequence[Result]) -> None:
        """Take what was recognised, in order."""
        spoken = [self._speak(result) for result in results]
        if self._writer is None:
            self._deliver([result for result in spoken if not self._is_old(result)])
            return
        for result in spoken:
            if isinstance(result, Partial) and self._queue and isinstance(self._queue[-1], Partial):
                self._queue.pop()
            self._queue.append(result)
        self._has_more.set()

    def restart(self) -> None:
        """Forget the utterance: it was discarded."""
        if self._spoken is not None:
            self._spoken.restart()
        if self._writer is None:
            self._sent = ("", 0)
        else:
            self._queue.append(_Restart())
            self._has_more.set()

    def close(self) -> None:
        """Deliver nothing more."""
        if self._writer is not None:
            self._writer.cancel()

    def _speak(self, result: Result) -> Result:
        if self._spoken is None:
            return result
        if isinstance(result, Partial):
            text, stable_len = self._spoken.partial(result.text, result.stable_len)
            n_unstable = len(text[stable_len:].split())
            words = _spoken_words(result.words, self._spoken, n_unstable)
            return replace(result, text=text, stable_len=stable_len, words=words)
        if isinstance(result, Final):
            words = _spoken_words(result.words, self._spoken, 0)
            text = self._spoken.final(result.text)
            others = [
                replace(other, text=self._spoken.final(other.text)) for other in result.alternatives
            ]
            return replace(result, text=text, words=words, alternatives=distinct(text, others))
        return result

    def _is_old(self, result: Result) -> bool:
        """Tell whether a partial says nothing new, and note what is said."""
        if isinstance(result, Final):
            self._sent = ("", 0)
        if not isinstance(result, Partial):
            return False
        shown = (result.text, result.stable_len)
        is_old = shown == self._sent
        self._sent = shown
        return is_old

    async def _write_all(self, normaliser: Normaliser) -> None:
        while True:
            await self._has_more.wait()
            if not self._queue:
                self._has_more.clear()
                continue
            result = self._queue.popleft()
            if isinstance(result, _Restart):
                self._written.restart()
                self._sent = ("", 0)
                continue
            try:
                written = await self._write(result, normaliser)
            except Exception:
                _log.exception("inverse text normalisation failed")
                self._deliver([StreamEnded(InternalError(_FAILED))])
                return
            if not self._is_old(written):
                self._deliver([written])

    async def _write(self, result: Result, normaliser: Normaliser) -> Result:
        if isinstance(result, Partial):
            writing = self._written.partial(result.text, result.stable_len)
            text, stable_len = await self._finish(writing, normaliser)
            return replace(result, text=text, stable_len=stable_len)
        if isinstance(result, Final):
            text, _ = await self._finish(self._written.final(result.text), normaliser)
            spoken = "" if text == result.text else result.text
            others = []
            for other in result.alternatives:
                written, _ = await self._finish(self._written.final(other.text), normaliser)
                others.append(replace(other, text=written))
            return replace(
                result, text=text, spoken_text=spoken, alternatives=distinct(text, others)
            )
        return result

    async def _finish(self, writing: Writing, normaliser: Normaliser) -> Shown:
        try:
            task = next(writing)
            while True:
                task = writing.send(await normaliser.write(self._options.written_language, task))
        except StopIteration as stop:
            shown: Shown = stop.value
            return shown


def _spoken_words(words: Sequence[Word], form: SpokenForm, n_unstable: int) -> tuple[Word, ...]:
    """Return the words as the text has them: a word masked there must not be told here."""
    changed = [replace(word, text=text) for word in words if (text := form.word(word.text))]
    n_stable = len(changed) - n_unstable
    return tuple(replace(word, is_stable=i < n_stable) for i, word in enumerate(changed))

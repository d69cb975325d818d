"""The written form of one utterance while it grows; who asks the grammar is the caller's affair."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeAlias

from siren_grpc.text.normalisation import Part, Task, Written, split, without_second_stop
from siren_grpc.text.spoken_form import last_space

_SPLIT_AT_HYPHENS = frozenset({"en"})
"""Languages whose grammar wants `twenty five` where people, and models, write `twenty-five`; the
French one knows `vingt-cinq`."""
MAX_TASK_WORDS = 8
"""New words in one task: a long recording's text does not keep other streams waiting."""

Shown: TypeAlias = tuple[str, int]
Writing: TypeAlias = Generator[Task, Written, Shown]
"""Yields tasks, is sent what became of each, and returns a text and its stable length."""


class WrittenForm:
    """Turns spoken text and its stable length, as they grow, into the same of the written text.

    Without I/O: its methods are generators that say what is to be written.
    """

    def __init__(self, language: str) -> None:
        """Start the first utterance. language: primary subtag, such as `en`."""
        self._at_hyphens = language in _SPLIT_AT_HYPHENS
        self.restart()

    def restart(self) -> None:
        """Start the next utterance."""
        self._n_read = 0
        self._settled = ""
        self._pending: tuple[Part, ...] = ()

    def partial(self, text: str, stable_len: int) -> Writing:
        """Write a partial: its settled words are stable."""
        new, _ = self._split(text[self._n_read : last_space(text, self._n_read, stable_len)])
        self._n_read += sum(len(part.before) + len(part.word) for part in new)
        return (yield from self._write(new, text[self._n_read :]))

    def final(self, text: str) -> Writing:
        """Write a final, all of it stable, and start the next utterance."""
        new, marks = self._split(text[self._n_read :])
        shown, _ = yield from self._write(new, marks)
        self.restart()
        return shown, len(shown)

    def _write(self, new: list[Part], behind: str) -> Writing:
        tail, marks = self._split(behind)
        shown = ""
        for start in range(0, max(1, len(new)), MAX_TASK_WORDS):
            end = start + MAX_TASK_WORDS
            task = Task(
                self._pending, tuple(new[start:end]), tuple(tail) if end >= len(new) else ()
            )
            if task.pending or task.new or task.tail:
                written = yield task
                self._settled += written.settled
                self._pending = written.pending
                shown = written.shown
        shown += without_second_stop(shown or self._settled, marks)
        return self._settled + shown, len(self._settled)

    def _split(self, text: str) -> tuple[list[Part], str]:
        return split(text, at_hyphens=self._at_hyphens)

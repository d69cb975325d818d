"""Inverse text normalisation while the words come: "twenty five dollars" becomes "$25".

A grammar reads a whole sentence; a stream cannot wait for one. So words are settled from the left,
as soon as what follows is not expected to change how they are written: at a boundary between two
words that the grammar leaves alone, with a further word behind them that it has seen, too; and at
punctuation, across which nothing combines. What is settled depends on the words alone, not on
when or in how many pieces they came (promise 3), and is never touched again (promise 1). Only the
few words behind it are read again as new ones come: the cost of a word does not grow with the
utterance.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Protocol

from siren_grpc.text.marks import core
from siren_grpc.text.masking import MASK

LOOK_AHEAD_WORDS = 3
"""Words that must follow the first behind a boundary before it is settled: the grammar sees the
rest of `five | p m` and of `john | at gmail dot com`. More settles later and differs less."""
MAX_PENDING_WORDS = 32
KEPT_WORDS = 16
"""Numbers read out without end, a long list of digits, are settled when MAX_PENDING_WORDS wait,
all but about the last KEPT_WORDS: the cost of a word stays bounded."""
_CHUNK = re.compile(r"\S+")
_WORD = re.compile(r"[^-]+")


@dataclass(frozen=True, slots=True)
class Part:
    """A word, and what stands between it and the one before: white space, a hyphen, marks."""

    before: str
    word: str

    @property
    def joins(self) -> bool:
        """Whether it may be written together with the word before it."""
        return self.before == "-" or self.before.isspace()


@dataclass(frozen=True, slots=True)
class Span:
    """Words that are written together.

    written: their written form; None for one word that is written as it is spoken.
    """

    n_words: int
    written: str | None


class Grammar(Protocol):
    """Reads words and says how they are written."""

    def spans(self, words: Sequence[str]) -> Sequence[Span]:
        """Return how all of the words, at least one, are written, in their order."""


@dataclass(frozen=True, slots=True)
class Task:
    """Words to be written.

    pending: read before, and not settled. new: what follows them, for good. tail: what is heard
    behind these at the moment.
    """

    pending: tuple[Part, ...]
    new: tuple[Part, ...]
    tail: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Written:
    """What became of a task.

    settled: text of the words settled now. pending: those left. shown: their text and the
    tail's, as it would be if nothing followed.
    """

    settled: str
    pending: tuple[Part, ...]
    shown: str


def split(text: str, *, at_hyphens: bool) -> tuple[list[Part], str]:
    """Return the words of a text, and what stands behind the last of them.

    at_hyphens: whether `twenty-five` is two words. Joined together again, `before` and `word` of
    each, they are the text.
    """
    parts = []
    end = 0
    for chunk in _CHUNK.finditer(text):
        first, last = core(text, *chunk.span())
        for word in (_WORD if at_hyphens else _CHUNK).finditer(text, first, last):
            parts.append(Part(text[end : word.start()], word.group()))
            end = word.end()
    return parts, text[end:]


def write(task: Task, grammar: Grammar) -> Written:
    """Settle what can be settled and show the rest."""
    grammar = _AroundMasks(grammar)
    pending = list(task.pending)
    settled: list[str] = []
    for part in task.new:
        if pending and not part.joins:
            run = _text(pending, grammar.spans(_words(pending)))
            settled.append(run)
            pending.clear()
            part = Part(without_second_stop(run, part.before), part.word)
        pending.append(part)
        n_settled = 0
        spans: Sequence[Span] = ()
        if len(pending) > LOOK_AHEAD_WORDS + 1:
            spans = grammar.spans(_words(pending))
            n_settled = _n_settled(spans)
        if n_settled:
            settled.append(_text(pending[:n_settled], spans))
            del pending[:n_settled]
    return Written("".join(settled), tuple(pending), _shown([*pending, *task.tail], grammar))


class _AroundMasks:
    """Leaves masked words as they are: a grammar would read `f***` as an f and asterisks."""

    def __init__(self, grammar: Grammar) -> None:
        self._grammar = grammar

    def spans(self, words: Sequence[str]) -> Sequence[Span]:
        """See `Grammar`; the words before and behind a masked one are read apart."""
        spans: list[Span] = []
        for is_masked, run in groupby(words, key=lambda word: MASK in word):
            some = tuple(run)
            spans += [Span(1, None)] * len(some) if is_masked else self._grammar.spans(some)
        return spans


def _n_settled(spans: Sequence[Span]) -> int:
    """Return how many words from the left no later word is expected to change."""
    n_words = sum(span.n_words for span in spans)
    starts = [0]
    for span in spans:
        starts.append(starts[-1] + span.n_words)
    for i in range(len(spans) - 1, 0, -1):
        between_plain = spans[i - 1].written is None and spans[i].written is None
        if between_plain and n_words - starts[i] > LOOK_AHEAD_WORDS:
            return starts[i]
    if n_words <= MAX_PENDING_WORDS:
        return 0
    return (
        next((start for start in reversed(starts[1:-1]) if n_words - start >= KEPT_WORDS), 0)
        or (starts[1])
    )


def _shown(parts: Sequence[Part], grammar: Grammar) -> str:
    """Return the text of words as it is if nothing follows."""
    shown = ""
    start = 0
    for end in range(1, len(parts) + 1):
        if end == len(parts) or not parts[end].joins:
            run = _text(parts[start:end], grammar.spans(_words(parts[start:end])))
            shown += without_second_stop(shown, run)
            start = end
    return shown


def without_second_stop(text: str, behind: str) -> str:
    """Return what stands behind a text without the full stop its last abbreviation brought along.

    No word ends with a stop, so this one is the grammar's: `at five p m` and `.` are `5 p.m.`.
    """
    return behind[1:] if text.endswith(".") and behind.startswith(".") else behind


def _words(parts: Sequence[Part]) -> tuple[str, ...]:
    return tuple(part.word for part in parts)


def _text(parts: Sequence[Part], spans: Sequence[Span]) -> str:
    """Write the words; spans may reach behind them."""
    text: list[str] = []
    start = 0
    for span in spans:
        if start >= len(parts):
            break
        part = parts[start]
        text += (part.before, part.word if span.written is None else span.written)
        start += span.n_words
    return "".join(text)

"""The words of a text that is built token by token: where each is, and how certain.

A word is what stands between white space in the text, so that punctuation belongs to the word
before it, as in NeMo's `get_words_offsets`. It begins with its first token and ends with its last
one; punctuation has no sound, and adds nothing to a word's time (NeMo's `_refine_timestamps`: a
mark may be emitted long after the word). Its confidence is that of its least certain token, the
default of NeMo's `ConfidenceConfig.aggregation`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from siren_grpc.text.detokenizer import Detokenizer, DetokenizerState


@dataclass(frozen=True, slots=True)
class TimedToken:
    """A token, the samples of the stream from start to end that are its, and its confidence.

    confidence: 0 to 1; None when unknown.
    """

    token_id: int
    start: int
    end: int
    confidence: float | None


@dataclass(frozen=True, slots=True)
class TextWord:
    """A word so far. start, end: in samples of the stream. confidence: None when unknown."""

    text: str
    start: int
    end: int
    confidence: float | None
    is_mark: bool
    """It is nothing but punctuation."""


class WordSequence:
    """The words of an utterance. What is certain is pushed; what may follow can be looked at."""

    def __init__(self, detokenizer: Detokenizer) -> None:
        """Start empty."""
        self._detokenizer = detokenizer
        self._state = DetokenizerState()
        self._words: list[TextWord] = []
        self._space: TimedToken | None = None
        """A token of its own for the space before the word that comes."""
        self._bytes: tuple[TimedToken, ...] = ()
        """The first tokens of a character that is not whole yet."""
        self._ends_word = False
        """The last token is the end of the last word's sound."""

    def push(self, token: TimedToken) -> None:
        """Add a token."""
        state, added = self._detokenizer.extend(self._state, (token.token_id,))
        self._ends_word = False
        if added:
            self._add(added, (*self._bytes, token), self._brings_space(token))
            self._bytes = (token,) if state.held_bytes else ()
        elif self._detokenizer.is_space(token.token_id):
            self._space = token
        elif state.held_bytes != self._state.held_bytes:
            self._bytes = (*self._bytes, token)
        self._state = state

    def prolong(self, end: int, confidence: float | None) -> None:
        """Let the last token end later: its decoder still held it. `end` is the new end."""
        if not self._ends_word:
            return
        word = self._words[-1]
        certainty = _least((word.confidence, confidence))
        self._words[-1] = replace(word, end=max(word.end, end), confidence=certainty)

    def finish(self) -> Sequence[TextWord]:
        """Return all words at the end of the utterance, whatever was left unfinished added."""
        added = self._detokenizer.finish(self._state)
        if added:
            self._add(added, self._bytes, brings_space=False)
            self._state, self._bytes = DetokenizerState(is_start=False), ()
        return self._words

    def last(self, n_most: int, beyond: Iterable[TimedToken] = ()) -> Sequence[TextWord]:
        """Return the last words as they would be with more tokens added, n_most at most."""
        view = WordSequence(self._detokenizer)
        view._state, view._space, view._bytes = self._state, self._space, self._bytes
        view._words = self._words[-n_most:]
        for token in beyond:
            view.push(token)
        return view._words[-n_most:]

    def _brings_space(self, token: TimedToken) -> bool:
        return not self._bytes and self._detokenizer.starts_word(token.token_id)

    def _add(self, added: str, tokens: tuple[TimedToken, ...], brings_space: bool) -> None:
        """Add text that tokens have made certain; a token may bring more than one word."""
        continues = bool(self._words) and not added[0].isspace()
        if self._space is not None and not continues and not brings_space:
            tokens = (self._space, *tokens)  # as NeMo has it, the space is the word's
        self._space = None
        for text in added.split():
            word = self._word(text, tokens)
            self._ends_word = not word.is_mark
            if continues:
                word = _joined(self._words.pop(), word)
            self._words.append(word)
            continues = False

    def _word(self, text: str, tokens: tuple[TimedToken, ...]) -> TextWord:
        is_mark = self._detokenizer.is_punctuation(text)
        confidence = _least(token.confidence for token in tokens)
        return TextWord(text, tokens[0].start, tokens[-1].end, confidence, is_mark)


def _joined(word: TextWord, more: TextWord) -> TextWord:
    start, end = word.start, max(word.end, more.end)
    if more.is_mark:
        end = word.end
    elif word.is_mark:
        start = more.start
    confidence = _least((word.confidence, more.confidence))
    is_mark = word.is_mark and more.is_mark
    return TextWord(word.text + more.text, start, end, confidence, is_mark)


def _least(confidences: Iterable[float | None]) -> float | None:
    known = [confidence for confidence in confidences if confidence is not None]
    return min(known, default=None)

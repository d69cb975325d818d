"""Words of a list made unreadable: `damn` becomes `d***`."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator

from siren_grpc.text.marks import before_apostrophe, is_word_character

MASK = "*"
MAX_LETTERS = 64


class WordMask:
    """Masks words, in any case, also before an apostrophe (`damn's`) and between hyphens.

    Immutable. Case folding looks at one character at a time, so a word's beginning is folded to
    the beginning of the folded word.
    """

    def __init__(self, words: Iterable[str]) -> None:
        """Mask these words; each has letters, digits and apostrophes only."""
        self._words = sorted({word.casefold() for word in words})
        self._known = frozenset(self._words)

    def apply(self, text: str) -> str:
        """Return a text of whole words with those of the list masked; its length stays."""
        masked = list(text)
        for start, end in _words(text):
            length = self._n_masked(text[start:end])
            masked[start + 1 : start + length] = MASK * max(0, length - 1)
            if length == 1:
                masked[start] = MASK
        return "".join(masked)

    def n_decided(self, text: str) -> int:
        """Return how many characters no continuation of the text can change the masking of."""
        start = len(text)
        while start and is_word_character(text[start - 1]):
            start -= 1
        word = text[start:].casefold()
        i = bisect_left(self._words, word)
        may_become_one = i < len(self._words) and self._words[i].startswith(word)
        return start if word and may_become_one else len(text)

    def _n_masked(self, word: str) -> int:
        if word.casefold() in self._known:
            return len(word)
        stem = before_apostrophe(word)
        return len(stem) if stem.casefold() in self._known else 0


def fault_of(word: str) -> str | None:
    """Say why a word cannot be masked, None if it can."""
    if not word:
        return "an empty word"
    if len(word) > MAX_LETTERS:
        return f"a word of {len(word)} letters; {MAX_LETTERS} is the most"
    if not all(is_word_character(character) for character in word):
        return f"{word!r} is not one word; use letters, digits and apostrophes, without white space"
    return None


def read_masked_words(text: str) -> frozenset[str]:
    """Read a list of words, one a line, # before a comment.

    Raises ValueError naming the line of a word that cannot be masked, or when there is none.
    """
    words = set()
    for number, line in enumerate(text.splitlines(), 1):
        word = line.partition("#")[0].strip()
        fault = fault_of(word) if word else None
        if fault is not None:
            raise ValueError(f"line {number}: {fault}")
        words.add(word)
    words.discard("")
    if not words:
        raise ValueError("there is no word in it")
    return frozenset(words)


def _words(text: str) -> Iterator[tuple[int, int]]:
    start = None
    for i, character in enumerate(text):
        if is_word_character(character):
            start = i if start is None else start
        elif start is not None:
            yield start, i
            start = None
    if start is not None:
        yield start, len(text)

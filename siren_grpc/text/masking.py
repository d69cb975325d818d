"""Words of a list made unreadable: `damn` becomes `d***`."""

from __future__ import annotations

import unicodedata
from bisect import bisect_left
from collections.abc import Iterable, Iterator

from siren_grpc.text.marks import APOSTROPHES, is_word_character

MASK = "*"
MAX_LETTERS = 64
_APOSTROPHES = APOSTROPHES + "\N{MODIFIER LETTER APOSTROPHE}"
_TO_ONE_APOSTROPHE = dict.fromkeys(map(ord, _APOSTROPHES), "'")


class WordMask:
    """Masks words, in any case, also before or between apostrophes and between hyphens.

    `damn's`, `'damn'`. Immutable. Words are the same whose letters are canonically equivalent
    without their case (Unicode 15, 3.13, D145), whichever apostrophe they have.
    """

    def __init__(self, words: Iterable[str]) -> None:
        """Mask these words; each has letters, digits and apostrophes only."""
        self._words = sorted({_key(word) for word in words})
        self._known = frozenset(self._words)

    def apply(self, text: str) -> str:
        """Return a text of whole words with those of the list masked; its length stays."""
        masked = list(text)
        for start, end in _words(text):
            first, behind = self._masked(text[start:end])
            word = text[start + first : start + behind]
            # A letter and its accent may be one character or two.
            n_shown = 0 if len(unicodedata.normalize("NFC", word)) == 1 else 1
            for i in range(start + first + n_shown, start + behind):
                masked[i] = MASK
        return "".join(masked)

    def n_decided(self, text: str) -> int:
        """Return how many characters no continuation of the text can change the masking of."""
        start = len(text)
        while start and is_word_character(text[start - 1]):
            start -= 1
        word = text[start:]
        # What ends at an apostrophe within the word stays as it is; the rest of it may grow.
        growing = (first for first in _firsts(word) if self._may_become_one(word[first:]))
        return start + next(growing, len(word))

    def _masked(self, word: str) -> tuple[int, int]:
        """Return where in a run of letters and apostrophes the word to mask begins and ends."""
        ends = [len(word), *(i for i in reversed(range(len(word))) if word[i] in _APOSTROPHES)]
        for first in _firsts(word):
            for end in ends:
                if first < end and _key(word[first:end]) in self._known:
                    return first, end
        return 0, 0

    def _may_become_one(self, word: str) -> bool:
        begin = _key_begin(word)
        i = bisect_left(self._words, begin)
        return i < len(self._words) and self._words[i].startswith(begin)


def _firsts(word: str) -> list[int]:
    """Return where words may begin in a run of letters and apostrophes: `'tis`, or in quotes."""
    n_quotes = len(word) - len(word.lstrip(_APOSTROPHES))
    return [first for first in sorted({0, n_quotes}) if first < len(word)]


def _key(word: str) -> str:
    """Return what is equal for words that are the same but for case and spelling."""
    decomposed = unicodedata.normalize("NFD", word)
    return unicodedata.normalize("NFD", decomposed.casefold().translate(_TO_ONE_APOSTROPHE))


def _key_begin(word: str) -> str:
    """Return what the key of every word begins with that begins so.

    Decomposed, and each character folded by itself, a word's begin stays its begin, but for marks
    at its end: more of them may be sorted among those.
    """
    decomposed = _without_last_marks(unicodedata.normalize("NFD", word))
    folded = decomposed.casefold().translate(_TO_ONE_APOSTROPHE)
    return _without_last_marks(unicodedata.normalize("NFD", folded))


def _without_last_marks(text: str) -> str:
    end = len(text)
    while end and unicodedata.combining(text[end - 1]):
        end -= 1
    return text[:end]


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

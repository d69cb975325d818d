"""Where words end and punctuation begins."""

from __future__ import annotations

import unicodedata
from functools import lru_cache

APOSTROPHES = "'\N{RIGHT SINGLE QUOTATION MARK}"
_PARTS_OF_WORDS = frozenset(APOSTROPHES + "%&@#*/\\")
"""Punctuation by its Unicode category, but read as part of a word: dogs', 5%, R&D, f***."""


@lru_cache(maxsize=4096)
def is_mark(character: str) -> bool:
    """Tell whether a character at the edge of a word is punctuation rather than the word's own."""
    return unicodedata.category(character)[0] == "P" and character not in _PARTS_OF_WORDS


@lru_cache(maxsize=4096)
def is_word_character(character: str) -> bool:
    """Tell whether a character belongs to a word that can be masked: letter, digit, apostrophe."""
    return unicodedata.category(character)[0] in "LMN" or character in APOSTROPHES


def core(text: str, start: int, end: int) -> tuple[int, int]:
    """Return where `text[start:end]` begins and ends without the marks at its edges.

    Empty, both at `end`, when it is marks only.
    """
    while start < end and is_mark(text[start]):
        start += 1
    while end > start and is_mark(text[end - 1]):
        end -= 1
    return start, end

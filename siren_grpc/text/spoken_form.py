"""Lower case and masked words, while the text grows."""

from __future__ import annotations

import re

from siren_grpc.text.marks import core
from siren_grpc.text.masking import WordMask
from siren_grpc.text.options import TextOptions

_CHUNK = re.compile(r"(\s*)(\S+)")


class SpokenForm:
    """The words of one utterance as `TextOptions` want them spoken.

    Takes the model's text and its stable length as they grow and returns the same of what the
    client sees. Words are changed whole, so a word that may still grow into a masked one is not
    stable yet, nor is a mark at its end that may yet turn out to stand within it (promise 1).
    What is settled is not read again: the cost is that of the new text.
    """

    def __init__(self, options: TextOptions) -> None:
        """Start the first utterance."""
        self._is_lower_case = options.is_lower_case
        self._mask = WordMask(options.masked_words)
        self.restart()

    def restart(self) -> None:
        """Start the next utterance."""
        self._n_read = 0
        self._settled = ""

    def partial(self, text: str, stable_len: int) -> tuple[str, int]:
        """Return what a partial's text and stable length become."""
        self._settle(text, last_space(text, self._n_read, stable_len))
        shown = self._joined(text[self._n_read :])
        open_word = text[self._n_read : stable_len]
        return shown, len(self._joined(open_word[: self._mask.n_decided(open_word)]))

    def final(self, text: str) -> str:
        """Return what the utterance's whole text becomes, and start the next."""
        shown = self._joined(text[self._n_read :])
        self.restart()
        return shown

    def word(self, text: str) -> str:
        """Return what a single word becomes; empty when nothing is left of it."""
        return self._changed(text).strip()

    def _settle(self, text: str, end: int) -> None:
        self._settled = self._joined(text[self._n_read : end])
        self._n_read = end

    def _joined(self, behind: str) -> str:
        changed = self._changed(behind)
        return self._settled + changed if self._settled else changed.lstrip()

    def _changed(self, text: str) -> str:
        """Change whole words; a text cut before white space gives the same in two parts."""
        masked = self._mask.apply(text)
        if not self._is_lower_case:
            return masked
        changed: list[str] = []
        for chunk in _CHUNK.finditer(masked):
            start, end = core(masked, *chunk.span(2))
            if start < end:
                changed += (chunk.group(1), _lower(masked[start:end]))
        return "".join(changed)


def last_space(text: str, start: int, end: int) -> int:
    """Return where the last white space of `text[start:end]` begins; `start` if there is none."""
    while end > start and not text[end - 1].isspace():
        end -= 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return end


def _lower(text: str) -> str:
    """Return small letters, each by itself: a sigma does not ask whether it ends the word."""
    return text.replace("\N{GREEK CAPITAL LETTER SIGMA}", "\N{GREEK SMALL LETTER SIGMA}").lower()

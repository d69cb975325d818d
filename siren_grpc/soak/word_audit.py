"""The words of a stream as it goes: known, heard, and looked up a stretch at a time. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from siren_grpc.soak.known_words import Hits, Word, find

_NOTHING = Hits(0, 0, ())


class WordAudit:
    """Looks words up once their time has passed, and then forgets them.

    Which stretch a word belongs to depends on the borders alone, and not on when it is asked for:
    no stretch reaches over one.
    """

    def __init__(self, borders_s: Iterable[float]) -> None:
        """Start with no words. borders_s: times of the stream."""
        self._borders_s = sorted(borders_s)
        self._known: list[Word] = []
        self._heard: list[Word] = []
        self.stretches: list[tuple[float, Hits]] = []
        """End of each stretch that was looked up, and what was found; ends ascend."""

    def expect(self, words: Iterable[Word]) -> None:
        """Take words that are played. They come in the order of their starts."""
        self._known += words

    def hear(self, words: Iterable[Word]) -> None:
        """Take words of finals. They come in the order of their starts."""
        self._heard += words

    def look_up(self, until_s: float) -> Hits:
        """Look up the words before a time that were not looked up yet."""
        since_s = self.stretches[-1][0] if self.stretches else 0.0
        inner = [border for border in self._borders_s if since_s < border < until_s]
        return sum((self._look_up_one(end_s) for end_s in (*inner, until_s)), _NOTHING)

    def between(self, since_s: float, until_s: float) -> Hits:
        """Return what was found in the stretches that end behind a time, up to another."""
        return sum((hits for end, hits in self.stretches if since_s < end <= until_s), _NOTHING)

    def _look_up_one(self, until_s: float) -> Hits:
        known, self._known = _split(self._known, until_s)
        heard, self._heard = _split(self._heard, until_s)
        hits = find(known, heard)
        self.stretches.append((until_s, hits))
        return hits


def _split(words: Sequence[Word], at_s: float) -> tuple[list[Word], list[Word]]:
    before = [word for word in words if word.start_s < at_s]
    return before, list(words[len(before) :])

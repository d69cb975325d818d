"""Words where they are known to be, and how many of them were heard there. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

_NEAR_S = 0.4
"""A word heard further off was not heard: a drift shows as words that are lost."""


@dataclass(frozen=True, slots=True)
class Word:
    """A word and where it begins in the stream."""

    text: str
    start_s: float


@dataclass(frozen=True, slots=True)
class Hits:
    """What became of the words of a stretch. errors_s: of each found, heard less known start."""

    known: int
    heard: int
    errors_s: tuple[float, ...]

    @property
    def found(self) -> int:
        """Known words that were heard in their places."""
        return len(self.errors_s)

    @property
    def share(self) -> float:
        """Of the known words; 1 when there are none."""
        return self.found / self.known if self.known else 1.0

    @property
    def median_error_s(self) -> float | None:
        """By how much words are early or late; None when none was found."""
        return median(self.errors_s) if self.errors_s else None

    def as_json(self) -> dict[str, Any]:
        """Return its figures."""
        error_s = self.median_error_s
        return {
            "known": self.known,
            "heard": self.heard,
            "found": self.found,
            "median_error_s": None if error_s is None else round(error_s, 4),
        }

    def __add__(self, other: Hits) -> Hits:
        return Hits(
            self.known + other.known,
            self.heard + other.heard,
            self.errors_s + other.errors_s,
        )


def find(known: Sequence[Word], heard: Sequence[Word]) -> Hits:
    """Look each known word up among those heard; both in the order of their starts.

    A word is found once, and where it was said: up to 0.4 s off.
    """
    errors: list[float] = []
    first = 0
    for word in known:
        while first < len(heard) and heard[first].start_s < word.start_s - _NEAR_S:
            first += 1
        at = first
        while at < len(heard) and heard[at].start_s <= word.start_s + _NEAR_S:
            if heard[at].text == word.text:
                errors.append(heard[at].start_s - word.start_s)
                first = at + 1
                break
            at += 1
    return Hits(len(known), len(heard), tuple(errors))

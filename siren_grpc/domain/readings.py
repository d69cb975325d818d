"""Other ways to read an utterance than the one its final says (n-best)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

MOST_ALTERNATIVES = 10
"""A stream may ask for so many; the search of an utterance grows with it."""


@dataclass(frozen=True, slots=True)
class FrameSpan:
    """Encoder frames of a session.

    state: which of its recognition states they belong to, the first being 0 and each that starts
    afresh one more. first: the frame in that state. behind: the one behind the last; None for all
    there are.
    """

    state: int
    first: int
    behind: int | None


@dataclass(frozen=True, slots=True)
class Reading:
    """Tokens that a model finds in encoder frames; log_prob: natural logarithm, unnormalised."""

    tokens: tuple[int, ...]
    log_prob: float


@dataclass(frozen=True, slots=True)
class Alternative:
    """Another text of an utterance.

    probability: 0 to 1, among all that the search found, the final's own text included.
    """

    text: str
    probability: float


def distinct(text: str, alternatives: Iterable[Alternative]) -> tuple[Alternative, ...]:
    """Return alternatives to a final's text, each text once, the likeliest first.

    What they read as the same text adds up; empty ones go.
    """
    by_text: dict[str, float] = {}
    for other in alternatives:
        by_text[other.text] = by_text.get(other.text, 0.0) + other.probability
    others = [Alternative(*item) for item in by_text.items() if item[0] not in ("", text)]
    return tuple(sorted(others, key=lambda other: -other.probability))

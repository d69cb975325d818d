"""Phrases a stream is to listen for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

MAX_PHRASES = 1000
"""Most phrases of one stream."""
MAX_PHRASE_CHARS = 200
"""Most code points of one phrase."""
MAX_BOOST = 10.0
"""Largest boost. From here on the model writes phrases whatever it hears."""
DEFAULT_BOOST = 3.0
"""The largest with which speech without the phrases stays as it is (docs/biasing.md)."""


@dataclass(frozen=True, slots=True)
class Phrase:
    """Words to be preferred where they might have been said.

    text: as the model would write it, single spaces between words. boost: greater than 0, in
    natural-log probability: what each token that goes on with the phrase is given; its first is
    given a quarter.
    """

    text: str
    boost: float = DEFAULT_BOOST


Phrases: TypeAlias = tuple[Phrase, ...]
"""A stream's list; equal lists share what is made of them."""

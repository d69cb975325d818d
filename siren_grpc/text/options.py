"""What a stream asks of its text."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TextOptions:
    """How the recognised text is changed; as the model gives it by default.

    is_lower_case: small letters, no punctuation marks. masked_words: words that are made
    unreadable, case-folded, without white space. written_language: primary subtag of the language
    whose numbers, dates and the like are written as people write them; empty for as spoken.
    """

    is_lower_case: bool = False
    masked_words: frozenset[str] = frozenset()
    written_language: str = ""

    @property
    def changes_spoken_form(self) -> bool:
        """Whether words change before they are written."""
        return self.is_lower_case or bool(self.masked_words)

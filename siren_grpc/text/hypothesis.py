"""The text of one utterance while it grows."""

from __future__ import annotations

from collections.abc import Iterable

from siren_grpc.text.detokenizer import Detokenizer, DetokenizerState


class Hypothesis:
    """The tokens of whole chunks as text; what a greedy decoder has emitted it never takes back.

    So everything in `text` is stable (promise 1). Tokens read from an incomplete chunk are not
    added: `previewed` shows what they would make of the text.
    """

    def __init__(self, detokenizer: Detokenizer) -> None:
        """Start empty."""
        self._detokenizer = detokenizer
        self._state = DetokenizerState()
        self._text = ""

    @property
    def text(self) -> str:
        """The text that is certain, without trailing spaces."""
        return self._text

    def extend(self, token_ids: Iterable[int]) -> None:
        """Add the tokens of a whole chunk."""
        self._state, added = self._detokenizer.extend(self._state, token_ids)
        self._text += added

    def previewed(self, token_ids: Iterable[int]) -> str:
        """Return the text as it would be with these tokens added; `text` is a prefix of it."""
        _, added = self._detokenizer.extend(self._state, token_ids)
        return self._text + added

    def finish(self) -> str:
        """Return the whole text at the end of the utterance; `text` is a prefix of it."""
        return self._text + self._detokenizer.finish(self._state)

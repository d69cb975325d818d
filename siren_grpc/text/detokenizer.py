"""Token ids to text, one token at a time, never looking back.

Equal to detokenising the whole sequence at once with the model's tokenizer and then removing one
space before each punctuation mark, as NeMo's `decode_tokens_to_str_with_strip_punctuation` does,
but in time that depends on the new tokens only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DetokenizerState:
    """What the tokens so far leave undecided.

    held_space: white space whose fate the next token decides: dropped at the end of the text and
    before punctuation. held_bytes: the start of a UTF-8 sequence spelled in byte tokens.
    """

    is_start: bool = True
    held_space: str = ""
    held_bytes: bytes = b""


class Detokenizer:
    """Immutable and shared by all sessions of a model; the state is the caller's."""

    def __init__(self, token_texts: Sequence[str | int | None], punctuation: Iterable[str]) -> None:
        """Detokenise with a vocabulary.

        token_texts: the text of each token id, a leading space marking a word's start; an int is
        the raw byte a byte token stands for, None a mark that is no text and takes the space before
        it along, as NeMo's `strip_lang_tags` has it. punctuation: marks that take no space before
        them.
        """
        self._token_texts = tuple(token_texts)
        self._punctuation = frozenset(punctuation)
        marks = "".join(re.escape(mark) for mark in sorted(self._punctuation))
        self._space_before_mark = re.compile(rf"\s([{marks}])") if marks else None
        self._word_starts = tuple(
            isinstance(text, str) and text.startswith(" ") for text in self._token_texts
        )
        self._has_spaces = any(self._word_starts)

    def starts_word(self, token_id: int) -> bool:
        """Whether a word may begin with this token: always, where words are not set apart."""
        return self._word_starts[token_id] or not self._has_spaces

    def is_space(self, token_id: int) -> bool:
        """Whether the token is white space and nothing else."""
        text = self._token_texts[token_id]
        return isinstance(text, str) and text.isspace()

    def is_punctuation(self, text: str) -> bool:
        """Whether a text is marks and nothing else."""
        return bool(text) and self._punctuation.issuperset(text)

    def extend(
        self, state: DetokenizerState, token_ids: Iterable[int]
    ) -> tuple[DetokenizerState, str]:
        """Return the state after more tokens, and the text they add behind what was returned.

        Text once returned is final: no later token changes it. Ids outside the vocabulary raise
        IndexError, for they are a bug of the backend.
        """
        added = []
        for token_id in token_ids:
            state, text = self._extend_one(state, self._token_texts[token_id])
            added.append(text)
        return state, "".join(added)

    def finish(self, state: DetokenizerState) -> str:
        """Return what the end of the text adds: an unfinished UTF-8 sequence as U+FFFD."""
        if not state.held_bytes:
            return ""
        return self._join(state, "\ufffd" * len(state.held_bytes))[1]

    def _extend_one(
        self, state: DetokenizerState, token_text: str | int | None
    ) -> tuple[DetokenizerState, str]:
        if isinstance(token_text, int):
            return self._extend_byte(state, token_text)
        if token_text is None:
            joined, added = self._join(state, "\ufffd" * len(state.held_bytes))
            return DetokenizerState(joined.is_start), added
        if state.held_bytes:
            token_text = "\ufffd" * len(state.held_bytes) + token_text
        return self._join(state, token_text)

    def _extend_byte(self, state: DetokenizerState, byte: int) -> tuple[DetokenizerState, str]:
        text, rest = _decode_utf8(state.held_bytes + bytes([byte]))
        joined, added = self._join(state, text)
        return DetokenizerState(joined.is_start, joined.held_space, rest), added

    def _join(self, state: DetokenizerState, text: str) -> tuple[DetokenizerState, str]:
        text = state.held_space + text
        if state.is_start:
            text = text.lstrip(" ")
        if self._space_before_mark is not None:
            text = self._space_before_mark.sub(r"\1", text)
        shown = text.rstrip()
        held_space = text[len(shown) :]
        return DetokenizerState(state.is_start and not shown, held_space, b""), shown


def _decode_utf8(data: bytes) -> tuple[str, bytes]:
    """Return the text of the bytes and the start of a sequence they end within.

    A byte that can belong to no sequence becomes U+FFFD, as sentencepiece decodes it.
    """
    text = ""
    while True:
        try:
            return text + data.decode("utf-8"), b""
        except UnicodeDecodeError as error:
            text += data[: error.start].decode("utf-8")
            if error.reason == "unexpected end of data":
                return text, data[error.start :]
            text += "\ufffd"
            data = data[error.start + 1 :]

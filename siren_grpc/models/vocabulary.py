"""The text behind each token id of a NeMo model."""

from __future__ import annotations

import re
from typing import Any

from nemo.collections.common.tokenizers import AggregateTokenizer, SentencePieceTokenizer

_WORD_START = "\u2581"
_END_OF_UTTERANCE = "<EOU>"
_TURN_MARKS = frozenset({_END_OF_UTTERANCE, "<EOB>"})
"""Ends of utterances and of backchannels ("uh-huh"): no text."""
_LANGUAGE_TAG = re.compile(rf"^{_WORD_START}?<([a-z]{{2,3}}-[A-Z]{{2}})>$")
"""What a model that finds out the language says of it, after each sentence."""
_BYTE_TOKEN = re.compile(r"^<0x([0-9A-Fa-f]{2})>$")


def token_texts(model: Any) -> tuple[str | int | None, ...]:
    """Return the text of each token id, the blank not included.

    A leading space marks the start of a word; an int is the raw byte of a byte-fallback token;
    control symbols are empty; None is a language tag such as `<en-US>`.
    model: a NeMo ASR model with sub-word or character labels.
    Raises ValueError for a tokenizer whose text cannot be built token by token.
    """
    tokenizer = getattr(model, "tokenizer", None)
    if tokenizer is None:
        return labels_of(model)
    if isinstance(tokenizer, AggregateTokenizer):
        texts: list[str | int | None] = []
        for language in tokenizer.tokenizers_dict.values():
            texts.extend(_tokenizer_texts(language))
        return tuple(texts)
    return tuple(_tokenizer_texts(tokenizer))


def labels_of(model: Any) -> tuple[str, ...]:
    """Return the label of each token id of a model without a tokenizer, the blank not included.

    They are those of its output layer: `cfg.labels` is a copy that not every model has, and that
    `change_vocabulary` leaves as it was.
    """
    head = getattr(model, "joint", None) or model.decoder
    return tuple(str(label) for label in head.vocabulary)


def end_tokens(model: Any) -> frozenset[int]:
    """Return the ids of tokens that end a speaker's turn, as `parakeet_realtime_eou` emits."""
    tokenizer = getattr(model, "tokenizer", None)
    if not isinstance(tokenizer, SentencePieceTokenizer):
        return frozenset()
    pieces = [_piece(tokenizer.tokenizer, i) for i in range(tokenizer.vocab_size)]
    return frozenset(i for i, piece in enumerate(pieces) if piece == _END_OF_UTTERANCE)


def language_tags(model: Any) -> dict[int, str]:
    """Return the BCP-47 code that each language tag of a model says, by the token's id."""
    tokenizer = getattr(model, "tokenizer", None)
    if not isinstance(tokenizer, SentencePieceTokenizer):
        return {}
    processor = tokenizer.tokenizer
    pieces = (str(processor.id_to_piece(i)) for i in range(processor.get_piece_size()))
    tags = ((i, _LANGUAGE_TAG.match(piece)) for i, piece in enumerate(pieces))
    return {i: tag.group(1) for i, tag in tags if tag is not None}


def _tokenizer_texts(tokenizer: Any) -> list[str | int | None]:
    if isinstance(tokenizer, SentencePieceTokenizer):
        return [_piece_text(tokenizer.tokenizer, i) for i in range(tokenizer.vocab_size)]
    vocabulary = getattr(tokenizer, "vocab", None)
    if vocabulary is None:
        raise ValueError(f"tokenizer {type(tokenizer).__name__} has no vocabulary to read")
    # WordPiece: "##" continues a word, everything else starts one.
    return [str(token)[2:] if str(token).startswith("##") else f" {token}" for token in vocabulary]


def _piece(processor: Any, token_id: int) -> str:
    if token_id >= processor.get_piece_size():
        return ""  # a special token NeMo added behind the sentencepiece model
    return str(processor.id_to_piece(token_id)).removeprefix(_WORD_START)


def _piece_text(processor: Any, token_id: int) -> str | int | None:
    if token_id >= processor.get_piece_size() or _piece(processor, token_id) in _TURN_MARKS:
        return ""
    piece = str(processor.id_to_piece(token_id))
    if _LANGUAGE_TAG.match(piece):
        return None
    if processor.is_byte(token_id):
        match = _BYTE_TOKEN.match(piece)
        if match is None:
            raise ValueError(f"byte token {token_id} is spelled {piece!r}, not <0xNN>")
        return int(match.group(1), 16)
    if processor.is_unknown(token_id):
        return " \u2047 "  # as sentencepiece decodes it
    if processor.is_control(token_id):
        return ""
    return piece.replace(_WORD_START, " ")

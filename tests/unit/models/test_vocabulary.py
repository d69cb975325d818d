"""Every token's text, put together by Siren, is what the tokenizer itself makes of the ids."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

import pytest
import sentencepiece
from hypothesis import given
from hypothesis import strategies as st
from nemo.collections.common.tokenizers import SentencePieceTokenizer

from siren_grpc.models.vocabulary import end_tokens, language_tags, token_texts
from siren_grpc.text.detokenizer import Detokenizer, DetokenizerState

CORPUS = """
Hello, how are you? I am fine. The quick brown fox jumps over the lazy dog. What is the time now?
One two three four five six seven eight nine ten. Please call me back tomorrow, will you?
""".split("\n")


def processor(**options: Any) -> sentencepiece.SentencePieceProcessor:
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS),
        model_writer=model,
        model_type="bpe",
        character_coverage=1.0,
        minloglevel=2,
        **options,
    )
    return sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())


PLAIN = processor(vocab_size=80, bos_id=-1, eos_id=-1)
BYTES = processor(vocab_size=340, byte_fallback=True)


def model_with(pieces: sentencepiece.SentencePieceProcessor) -> SimpleNamespace:
    tokenizer = SentencePieceTokenizer.__new__(SentencePieceTokenizer)
    tokenizer.tokenizer = pieces
    tokenizer.vocab_size = pieces.get_piece_size()
    return SimpleNamespace(tokenizer=tokenizer)


def text_of(pieces: sentencepiece.SentencePieceProcessor, ids: list[int]) -> str:
    detokenizer = Detokenizer(token_texts(model_with(pieces)), ())
    state, text = detokenizer.extend(DetokenizerState(), ids)
    return text + detokenizer.finish(state)


@given(st.lists(st.integers(0, PLAIN.get_piece_size() - 1)))
def test_pieces_spell_what_the_tokenizer_decodes(ids: list[int]) -> None:
    # A final carries no space at its end, whatever the tokens say.
    assert text_of(PLAIN, ids).strip() == PLAIN.decode(ids).strip()


@pytest.mark.parametrize("text", ["naïve café", "a \N{SNOWMAN} b", "日本語", "Hello, you."])
def test_byte_tokens_spell_the_characters_no_piece_has(text: str) -> None:
    ids = BYTES.encode(text)
    assert BYTES.decode(ids) == text
    assert text_of(BYTES, ids) == text


def test_control_tokens_are_silent() -> None:
    texts = token_texts(model_with(BYTES))
    assert texts[BYTES.bos_id()] == texts[BYTES.eos_id()] == ""
    assert len(texts) == BYTES.get_piece_size()


def test_turn_marks_are_silent_and_the_end_of_an_utterance_is_known() -> None:
    pieces = processor(vocab_size=90, user_defined_symbols="<EOU>,<EOB>")
    model = model_with(pieces)
    (end,) = end_tokens(model)
    assert pieces.id_to_piece(end) == "<EOU>"
    assert token_texts(model)[end] == ""
    assert token_texts(model)[pieces.piece_to_id("<EOB>")] == ""
    assert end_tokens(model_with(PLAIN)) == frozenset()


def test_character_models_have_labels_for_tokens() -> None:
    head = SimpleNamespace(vocabulary=[" ", "a", "b"])
    assert token_texts(SimpleNamespace(joint=head, decoder=object())) == (" ", "a", "b")
    assert token_texts(SimpleNamespace(decoder=head)) == (" ", "a", "b")


def test_wordpieces_continue_or_start_a_word() -> None:
    model = SimpleNamespace(tokenizer=SimpleNamespace(vocab=["play", "##ing"]))
    assert token_texts(model) == (" play", "ing")


def test_an_unreadable_tokenizer_is_refused() -> None:
    with pytest.raises(ValueError, match="has no vocabulary to read"):
        token_texts(SimpleNamespace(tokenizer=SimpleNamespace()))


def test_tags_of_languages_are_no_text() -> None:
    tagged = processor(vocab_size=90, user_defined_symbols=["<en-US>", "<fil-PH>", "<b>"])
    ids = tagged.encode("I am fine. <en-US> How <fil-PH>")
    assert text_of(tagged, ids) == "I am fine. How"
    texts = token_texts(model_with(tagged))
    assert texts[tagged.piece_to_id("<b>")] == "<b>"


def test_tags_say_their_language() -> None:
    tagged = processor(vocab_size=90, user_defined_symbols=["<en-US>", "<fil-PH>", "<b>"])
    tags = language_tags(model_with(tagged))
    assert {tagged.id_to_piece(token): code for token, code in tags.items()} == {
        "<en-US>": "en-US",
        "<fil-PH>": "fil-PH",
    }
    assert language_tags(model_with(PLAIN)) == {}
    assert language_tags(SimpleNamespace(tokenizer=None)) == {}

from __future__ import annotations

import io
import random
import re
from functools import cache

import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st

from siren_grpc.text.detokenizer import Detokenizer, DetokenizerState

MARKS = ".,?"


@cache
def processor() -> sentencepiece.SentencePieceProcessor:
    """A real sentencepiece model with byte fallback, trained on a fixed corpus."""
    draw = random.Random(3)
    words = "seven zero hello well what is this one two three nine ten café".split()
    corpus = [
        " ".join(draw.choices(words, k=8)) + draw.choice([".", "?", ", yes", ""])
        for _ in range(400)
    ]
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(corpus),
        model_writer=model,
        vocab_size=330,
        model_type="bpe",
        byte_fallback=True,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    return sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())


@cache
def detokenizer() -> Detokenizer:
    sp = processor()
    texts: list[str | int] = []
    for i in range(sp.get_piece_size()):
        piece = sp.id_to_piece(i)
        if sp.is_byte(i):
            texts.append(int(piece[3:5], 16))
        elif sp.is_unknown(i):
            texts.append(" \u2047 ")
        elif sp.is_control(i):
            texts.append("")
        else:
            texts.append(piece.replace("\u2581", " "))
    return Detokenizer(texts, MARKS)


def at_once(ids: list[int]) -> str:
    """Decode as NeMo does: sentencepiece, then one space before each mark removed."""
    return re.sub(r"(\s)([.,?])", r"\2", processor().decode_ids(ids)).strip()


def token_ids() -> st.SearchStrategy[list[int]]:
    return st.lists(st.integers(0, processor().get_piece_size() - 1), max_size=40)


@settings(max_examples=300)
@given(st.data())
def test_token_by_token_equals_all_at_once(data: st.DataObject) -> None:
    ids = data.draw(token_ids())
    state, text = DetokenizerState(), ""
    for token_id in ids:
        state, added = detokenizer().extend(state, [token_id])
        text += added
    text += detokenizer().finish(state)
    assert text.strip() == at_once(ids)


@pytest.mark.parametrize(
    "text", ["hello what is this?", "one, two three.", "naïve façade", "日本 ten", "zero 🙂 nine"]
)
def test_text_comes_back_as_it_went_in(text: str) -> None:
    ids = processor().encode(text)
    state, out = detokenizer().extend(DetokenizerState(), ids)
    assert out + detokenizer().finish(state) == text


def test_an_unfinished_character_is_held_back_until_it_is_whole() -> None:
    bytes_of_e = list("é".encode())
    detok = Detokenizer([" caf", *bytes_of_e], MARKS)
    state, text = detok.extend(DetokenizerState(), [0, 1])
    assert text == "caf"
    assert detok.finish(state) == "\ufffd"
    assert detok.extend(state, [2])[1] == "é"


def test_a_space_waits_for_what_follows_it() -> None:
    detok = Detokenizer([" yes", " ", "?", " no"], MARKS)
    state, text = detok.extend(DetokenizerState(), [0, 1])
    assert text == "yes"
    assert detok.extend(state, [2])[1] == "?"
    assert detok.extend(state, [0])[1].lstrip() == "yes"


def test_spaces_at_the_end_are_never_shown() -> None:
    detok = Detokenizer([" yes", " ", " no"], MARKS)
    state, text = detok.extend(DetokenizerState(), [0, 1, 1])
    assert text == "yes"
    assert detok.extend(state, [2])[1] == "   no"


@pytest.mark.parametrize("ids", [[0, 1, 3, 2], [0, 3, 2], [0, 3, 1, 3, 2, 3]])
def test_a_mark_that_is_no_text_takes_the_space_before_it(ids: list[int]) -> None:
    """As NeMo's `strip_lang_tags` makes "Yes. No" of "Yes. <en-US> No <en-US>"."""
    detok = Detokenizer([" Yes.", " ", " No", None], MARKS)
    state, text = detok.extend(DetokenizerState(), ids)
    assert text + detok.finish(state) == "Yes. No"


def test_a_mark_ends_a_broken_character() -> None:
    detok = Detokenizer([0xC3, None, 0xA9], MARKS)
    state, text = detok.extend(DetokenizerState(), [0, 1, 2])
    assert text + detok.finish(state) == "\ufffd\ufffd"


def test_word_pieces_join_without_a_space() -> None:
    """WordPiece, as `token_texts` spells it: a space before all but continuations."""
    detok = Detokenizer([" sev", "en", " up", " ?", " ,"], "?,")
    _, text = detok.extend(DetokenizerState(), [0, 1, 4, 2, 3])
    assert text == "seven, up?"


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"\xc3\xa9", "é"),
        (b"\xe6\x97", "\ufffd\ufffd"),
        (b"\xc3\xc3\xa9", "\ufffdé"),
        (b"\xff\x41", "\ufffdA"),
        (b"\xf0\x9f\x99\x82", "🙂"),
        (b"\xed\xa0\x80", "\ufffd\ufffd\ufffd"),
    ],
)
def test_bytes_are_read_as_sentencepiece_reads_them(data: bytes, text: str) -> None:
    detok = Detokenizer(list(range(256)), "")
    state, given = detok.extend(DetokenizerState(), data)
    assert given + detok.finish(state) == text
    first_byte = next(i for i in range(processor().get_piece_size()) if processor().is_byte(i))
    assert processor().decode_ids([first_byte + byte for byte in data]) == text


def test_an_id_outside_the_vocabulary_is_a_bug() -> None:
    with pytest.raises(IndexError):
        Detokenizer(["a"], "").extend(DetokenizerState(), [1])

"""Promise 1 where it begins: what `text` has shown it never takes back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from siren_grpc.text.detokenizer import Detokenizer
from siren_grpc.text.hypothesis import Hypothesis

TEXTS = [" one", " two", "s", " ", "?", ".", " .", "\u2047", *"日é🙂".encode(), 0xFF]
TOKENS = st.lists(st.integers(0, len(TEXTS) - 1), max_size=8)


def make_hypothesis(*chunks: list[int]) -> Hypothesis:
    hypothesis = Hypothesis(Detokenizer(TEXTS, "?."))
    for chunk in chunks:
        hypothesis.extend(chunk)
    return hypothesis


@given(st.lists(TOKENS, max_size=6))
def test_text_once_given_never_changes(chunks: list[list[int]]) -> None:
    hypothesis = make_hypothesis()
    for chunk in chunks:
        before = hypothesis.text
        previewed = hypothesis.previewed(chunk)
        assert hypothesis.text == before, "a preview changes nothing"
        hypothesis.extend(chunk)
        assert hypothesis.text == previewed, "a preview shows what the tokens would make of it"
        assert hypothesis.text.startswith(before)
        assert not hypothesis.text.endswith(" ")
    assert hypothesis.finish().startswith(hypothesis.text)


@given(st.lists(TOKENS, max_size=6))
def test_chunks_do_not_show_in_the_text(chunks: list[list[int]]) -> None:
    at_once = make_hypothesis([token for chunk in chunks for token in chunk])
    in_chunks = make_hypothesis(*chunks)
    assert in_chunks.text == at_once.text
    assert in_chunks.finish() == at_once.finish()


def test_it_starts_empty() -> None:
    assert (make_hypothesis().text, make_hypothesis().finish()) == ("", "")

from __future__ import annotations

import pytest

from siren_grpc.text.masking import WordMask, fault_of, read_masked_words

MASK = WordMask(["damn", "Hell", "don't", "a", "straße"])


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("damn it", "d*** it"),
        ("DAMN, Damn. (damn)", "D***, D***. (d***)"),
        ("damned undamn damnation", "damned undamn damnation"),
        ("damn's hell's he'll", "d***'s h***'s he'll"),
        ("god-damn-it", "god-d***-it"),
        ("don't dont", "d**** dont"),
        ("a b", "* b"),
        ("STRASSE Straße", "S****** S*****"),
        ("", ""),
    ],
)
def test_words_of_the_list_are_masked_and_no_others(text: str, masked: str) -> None:
    assert MASK.apply(text) == masked


@pytest.mark.parametrize(
    ("text", "decided"),
    [
        ("it is da", "it is "),
        ("it is damn", "it is "),  # it may become `damned`
        ("it is damn,", "it is damn,"),
        ("it is dan", "it is dan"),
        ("it is dam", "it is "),
        ("xd", "xd"),
        ("hell'", "hell'"),
    ],
)
def test_a_word_that_may_grow_into_one_is_undecided(text: str, decided: str) -> None:
    assert text[: MASK.n_decided(text)] == decided


def test_a_list_has_a_word_a_line_and_comments() -> None:
    assert read_masked_words("# mine\ndamn\n\n  heck  # mild\n") == {"damn", "heck"}


@pytest.mark.parametrize(
    ("text", "says"),
    [("damn\nson of", "line 2: 'son of' is not one word"), ("# none\n", "no word in it")],
)
def test_a_list_that_cannot_be_used_says_why(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        read_masked_words(text)


def test_only_single_words_can_be_masked() -> None:
    assert fault_of("don't") is None
    assert fault_of("नमस्ते") is None
    assert fault_of("a-b") is not None

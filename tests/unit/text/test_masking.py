from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siren_grpc.text.masking import WordMask, fault_of, read_masked_words

MASK = WordMask(["damn", "Hell", "don't", "a", "straße", "café", "o'hell", "'em", "é"])


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
        ("don\u2019t damn\u2019s don\u02bct", "d**** d***\u2019s d****"),
        ("'damn' \u2019damn\u2019 ''damn'' 'damn", "'d***' \u2019d***\u2019 ''d***'' 'd***"),
        ("o'hell's O\u2019HELL", "o*****'s O*****"),
        ("caf\u00e9 cafe\u0301 CAFE\u0301S cafe\u0301's", "c*** c**** CAFE\u0301S c****'s"),
        ("\u00e9 e\u0301", "* **"),
        ("'em em them'em", "'** em them'em"),
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
        ("don\u2019", ""),
        ("it 'da", "it '"),
        ("it 'dan", "it 'dan"),
        ("cafe", ""),
        ("cafe\u0301", ""),
        ("o'hel", ""),
        ("o'hex", "o'hex"),
        ("e\u0323", ""),  # with an acute accent behind it, it is another letter
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


_LISTS = [
    ["ab", "a", "ab'a", "bab"],
    ["'b", "b'", "a'b'a", "''", "aa"],
    ["é", "aé", "é\u0323b", "\u0345a", "ß", "ŉ", "가"],
]
_FORMS = ("NFC", "NFD")
_LETTERS = "abAB''\u2019\u02bc-é\u0301\u0323\u0345ßŉ가\u1100\u1161 "


@settings(max_examples=1000)
@given(st.sampled_from(_LISTS), st.text(_LETTERS, max_size=12), st.text(_LETTERS, max_size=4))
def test_what_is_decided_stays_whatever_follows(words: list[str], text: str, rest: str) -> None:
    mask = WordMask(words)
    shown, n_decided = mask.apply(text), mask.n_decided(text)
    later = mask.apply(text + rest)
    assert later[:n_decided] == shown[:n_decided]
    assert n_decided <= mask.n_decided(text + rest)
    assert len(later) == len(text) + len(rest)


@settings(max_examples=500)
@given(st.sampled_from(_LISTS), st.text(_LETTERS, max_size=12))
def test_a_spelling_is_masked_as_any_other(words: list[str], text: str) -> None:
    masks = [WordMask(unicodedata.normalize(form, word) for word in words) for form in _FORMS]
    spelt = [unicodedata.normalize(form, text) for form in _FORMS]
    assert len({mask.apply(spelt[0]) for mask in masks}) == 1
    touched = {
        tuple(is_masked for *_, is_masked in _by_letter(text, masks[0].apply(text)))
        for text in (*spelt, spelt[0].replace("'", "\u2019"))
    }
    assert len(touched) == 1


def _by_letter(text: str, masked: str) -> list[tuple[str, bool]]:
    """Return which letters of a text, whole with their accents, are masked."""
    letters: list[tuple[str, bool]] = []
    for character, shown in zip(text, masked, strict=True):
        if unicodedata.combining(character) and letters:
            letters[-1] = (letters[-1][0] + character, letters[-1][1])
        elif not "\u1161" <= character <= "\u1175":  # a vowel of Hangul belongs to its consonant
            letters.append((character, shown == "*"))
    return letters


@pytest.mark.parametrize("form", _FORMS)
def test_a_single_letter_in_quotes_is_masked_whole_however_it_is_spelt(form: str) -> None:
    letter = unicodedata.normalize(form, "\u00e9")
    assert MASK.apply(f"say '{letter}'") == f"say '{'*' * len(letter)}'"

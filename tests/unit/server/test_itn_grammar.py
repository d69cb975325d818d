"""The real grammar of English: what it reads word by word, and what becomes of a growing text."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siren_grpc.server import itn
from siren_grpc.server.itn_grammar import ItnGrammar
from siren_grpc.text.normalisation import Span
from siren_grpc.text.written_form import WrittenForm
from tests.support.programs import needs_module
from tests.support.writing import finish

needs_module("nemo_text_processing", "itn")
pytestmark = [pytest.mark.itn, pytest.mark.slow]

ORDINARY = """
hello there how are you today
i would like to order a large pizza with mushrooms
the meeting starts at ten in the morning and ends at four in the afternoon
my number is seven nine five four two two zero five eight seven
she was born on the fifth of may nineteen eighty seven in a small town
we have sold twenty five thousand units in the first quarter of this year
it takes about an hour and a half to get there by car
there are three hundred and sixty five days in a year and twenty four hours in a day
please call me back at five five five one two three four after six p m
the train to boston leaves at seven forty five from platform nine
he ran ten miles in one hour and twelve minutes
i paid two hundred and fifty dollars for the first one and ninety nine cents for the second
the temperature will reach ninety five degrees by three p m
one of us has to go and the other two have to stay
at the age of twenty one he moved to chicago
in two thousand and eight the market lost thirty seven percent
send it to john dot smith at example dot com before friday
i have one question for you and a couple of comments
two of the three engines failed at thirty thousand feet
the bill came to forty two dollars and eighteen cents plus tip
""".strip().splitlines()
NUMBERS = """
one two three nine ten twelve twenty thirty fifty hundred thousand million point oh and a half
dollars dollar cents percent miles hours p m a.m. first second third may july the of at dot com
to half past o'clock john is it we paid minus Twenty Five. seven, eight? twenty-five
""".split()


@pytest.fixture(scope="module")
def grammar(tmp_path_factory: pytest.TempPathFactory) -> ItnGrammar:
    return ItnGrammar("en", cache=tmp_path_factory.mktemp("grammars"))


def written(text: str, grammar: ItnGrammar) -> str:
    return finish(WrittenForm("en").final(text), grammar)[0]


@pytest.mark.parametrize(
    ("spoken", "text"),
    [
        ("twenty five dollars", "$25"),
        ("It cost Twenty-five dollars, or thirty.", "It cost $25, or 30."),
        ("We met at five thirty p m. Yes.", "We met at 05:30 p.m. Yes."),
        ("on may fifth twenty twenty two", "on may 5 2022"),
        ("a twenty-year-old", "a 20-year-old"),
        ("nothing to write here", "nothing to write here"),
        ('what "{is" this } \\ [x]', 'what "{is" this } \\ [x]'),
    ],
)
def test_written_forms(grammar: ItnGrammar, spoken: str, text: str) -> None:
    assert written(spoken, grammar) == text


def test_each_word_belongs_to_a_span(grammar: ItnGrammar) -> None:
    words = ("i", "paid", "twenty", "five", "dollars", "to", "doctor", "s\u00e9ance")
    assert list(grammar.spans(words)) == [
        Span(1, None),
        Span(1, None),
        Span(3, "$25"),
        Span(1, None),
        Span(1, "dr."),
        Span(1, None),
    ]


@pytest.mark.parametrize("sentence", ORDINARY)
def test_an_ordinary_sentence_is_written_as_the_library_writes_it_whole(
    grammar: ItnGrammar, sentence: str
) -> None:
    whole = grammar.library.inverse_normalize(sentence, verbose=False)
    assert written(sentence, grammar) == whole


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from(NUMBERS), max_size=24),
    st.lists(
        st.tuples(st.integers(0, 150), st.sampled_from(["", " five", "s", " p m"])), max_size=4
    ),
)
def test_promises_one_and_three(
    grammar: ItnGrammar, words: list[str], cuts: list[tuple[int, str]]
) -> None:
    text = " ".join(words)
    form = WrittenForm("en")
    stable = ""
    for cut, tail in sorted(cuts):
        certain = text[:cut].rstrip()
        shown, stable_len = finish(form.partial(certain + tail, len(certain)), grammar)
        assert shown.startswith(stable), "promise 1"
        assert stable_len >= len(stable)
        stable = shown[:stable_len]
    final, _ = finish(form.final(text), grammar)
    assert final.startswith(stable), "promise 1"
    assert final == written(text, grammar), "promise 3"


@pytest.mark.parametrize(
    ("language", "spoken", "text"),
    [
        (
            "de",
            "Ich habe fünfundzwanzig Euro bezahlt, glaube ich.",
            "Ich habe 25 Euro bezahlt, glaube ich.",
        ),
        ("es", "pagué veinticinco dólares por eso", "pagué $25 por eso"),
        ("fr", "Il a payé quatre-vingt-dix-neuf euros, grand-mère.", "Il a payé 99 €, grand-mère."),
        ("pt", "eu paguei vinte e cinco reais por isso", "eu paguei R$ 25 por isso"),
    ],
)
def test_the_other_languages(language: str, spoken: str, text: str) -> None:
    grammar = ItnGrammar(language, cache=itn.grammar_cache())  # compiling one takes 5 to 20 s
    assert finish(WrittenForm(language).final(spoken), grammar)[0] == text


def test_a_compiled_grammar_is_kept_and_used_again(tmp_path: Path) -> None:
    ItnGrammar("en", cache=tmp_path)
    (kept,) = tmp_path.rglob("*.far")
    made = kept.stat().st_mtime_ns
    again = ItnGrammar("en", cache=tmp_path)
    assert kept.stat().st_mtime_ns == made
    assert written("twenty five", again) == "25"


def test_a_folder_that_cannot_be_written_costs_time_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    with caplog.at_level(logging.WARNING):
        grammar = ItnGrammar("en", cache=blocked)
    assert "cannot keep the compiled grammar" in caplog.text
    assert written("twenty five", grammar) == "25"

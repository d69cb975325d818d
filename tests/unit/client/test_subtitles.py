from __future__ import annotations

import io
import sys
from dataclasses import dataclass, replace
from itertools import pairwise

import pytest
import webvtt
from hypothesis import given
from hypothesis import strategies as st

from siren_client.subtitles import Cue, SubtitlesError, timed_words, to_cues, to_srt, to_vtt
from siren_client.types import Final


def final(text: str, start_s: float = 0.0, end_s: float = 1.0) -> Final:
    return Final(text=text, seq=0, start_s=start_s, end_s=end_s)


@dataclass(frozen=True)
class Word:
    text: str
    start_s: float
    end_s: float


class WordyFinal(Final):
    """A final with times of its words."""

    words: tuple[Word, ...]


def wordy(*words: tuple[str, float, float], text: str | None = None, end_s: float) -> Final:
    if text is None:
        text = " ".join(word[0] for word in words)
    made = WordyFinal(text=text, seq=0, start_s=0.0, end_s=end_s)
    object.__setattr__(made, "words", tuple(Word(*word) for word in words))
    return made


def read(text: str, file_format: str) -> list[tuple[str, str, str]]:
    captions = webvtt.from_buffer(io.BytesIO(text.encode()), format=file_format)
    return [(caption.start, caption.end, caption.text) for caption in captions]


def test_a_short_utterance_is_one_cue_over_its_span():
    assert to_cues([final("seven up", 0.5, 2.0)]) == [Cue(0.5, 2.0, ("seven up",))]


def test_silence_gives_no_cue():
    assert to_cues([final(""), final("  ")]) == []
    assert to_srt([]) == ""
    assert to_vtt([]) == "WEBVTT\n"


def test_a_span_is_divided_by_letters():
    words = timed_words(final("a bbb cc", 1.0, 10.0))
    assert words == [("a", 1.0, 3.0), ("bbb", 3.0, 7.0), ("cc", 7.0, 10.0)]


def test_cues_are_cut_at_the_times_of_words():
    cues = to_cues([wordy(("one", 0.2, 0.5), ("two", 0.6, 1.4), ("three", 4.0, 4.9), end_s=6.0)])
    assert cues == [Cue(0.2, 1.4, ("one two",)), Cue(4.0, 4.9, ("three",))]


def test_words_that_are_not_the_texts_say_where_the_speech_is():
    rewritten = wordy(("twenty", 1.0, 1.5), ("five", 1.5, 2.0), text="25", end_s=6.0)
    assert to_cues([rewritten]) == [Cue(1.0, 2.0, ("25",))]


def test_a_short_cue_stays_while_there_is_room():
    short = wordy(("no", 1.0, 1.1), end_s=5.0)
    cramped = wordy(("no", 1.0, 1.1), end_s=1.4)
    assert to_cues([short]) == [Cue(1.0, 1.833, ("no",))]
    assert to_cues([cramped]) == [Cue(1.0, 1.4, ("no",))]


def test_lines_are_of_even_length_and_sentences_close_cues():
    (cue,) = to_cues([final("we shall fight on the beaches and on the landing grounds")])
    assert cue.lines == ("we shall fight on the beaches", "and on the landing grounds")
    cues = to_cues([final("He went to the old harbour at dawn. Nobody was there.", 0.0, 5.0)])
    assert [cue.text for cue in cues] == [
        "He went to the old harbour at dawn.",
        "Nobody was there.",
    ]


def test_a_language_without_spaces_is_cut_too():
    cues = to_cues([final("字" * 100, 0.0, 9.0)], max_line_chars=16)
    assert all(len(line) <= 16 for cue in cues for line in cue.lines)
    assert "".join("".join(cue.lines) for cue in cues) == "字" * 100


def test_finals_come_in_the_order_of_their_times():
    cues = to_cues([final("two", 5.0, 6.0), final("one", 1.0, 2.0)])
    assert [cue.text for cue in cues] == ["one", "two"]


@given(
    st.lists(
        st.tuples(
            st.text(alphabet="abc .,é字", max_size=300),
            st.floats(0.0, 3.0),
            st.floats(0.2, 60.0),
        ),
        max_size=5,
    )
)
def test_cues_keep_the_text_and_the_rules(spoken):
    finals, at_s = [], 0.0
    for text, gap_s, length_s in spoken:
        finals.append(final(text, at_s + gap_s, at_s + gap_s + length_s))
        at_s += gap_s + length_s
    cues = to_cues(finals)
    assert "".join("".join(cue.lines) for cue in cues).replace(" ", "") == "".join(
        "".join(final.text.split()) for final in finals
    )
    assert all(1 <= len(cue.lines) <= 2 for cue in cues)
    assert all(1 <= len(line) <= 42 for cue in cues for line in cue.lines)
    assert all(cue.start_s < cue.end_s for cue in cues)
    assert all(one.end_s <= two.start_s for one, two in pairwise(cues))
    # Parting cues that begin in the same millisecond may push the last by one each.
    assert all(cue.end_s <= at_s + 0.001 * (1 + len(cues)) for cue in cues)


@given(st.lists(st.tuples(st.floats(0, 9), st.floats(0, 2)), min_size=1, max_size=40))
def test_words_that_overlap_or_take_no_time_make_cues_that_do_not(times):
    words = [(f"w{number}", start, start + length) for number, (start, length) in enumerate(times)]
    words.sort(key=lambda word: word[1])
    cues = to_cues([wordy(*words, end_s=12.0)])
    assert " ".join(cue.text for cue in cues) == " ".join(word[0] for word in words)
    assert all(cue.start_s < cue.end_s for cue in cues)
    assert all(one.end_s <= two.start_s for one, two in pairwise(cues))


def test_both_formats_read_back():
    cues = [Cue(0.0, 1.25, ("one", "two")), Cue(3599.9, 36000.0, ("three",))]
    for file_format, write in (("srt", to_srt), ("vtt", to_vtt)):
        assert read(write(cues), file_format) == [
            ("00:00:00.000", "00:00:01.250", "one\ntwo"),
            ("00:59:59.900", "10:00:00.000", "three"),
        ]


def test_what_looks_like_markup_is_text():
    cues = [Cue(0.0, 1.0, ("R&D {x} <unk> --> 5",))]
    assert "R&amp;D {x} &lt;unk&gt; --&gt; 5\n" in to_vtt(cues)
    assert "R&D {x} ‹unk› --› 5\n" in to_srt(cues)


def test_without_the_library_it_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "webvtt", None)
    with pytest.raises(SubtitlesError, match=r"pip install 'siren-grpc-client\[subtitles\]'"):
        to_srt([])


def test_a_cue_needs_room():
    with pytest.raises(ValueError, match="at least one line"):
        to_cues([replace(final("x"))], max_lines=0)

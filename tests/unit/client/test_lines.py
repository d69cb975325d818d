from __future__ import annotations

import json
import re
from dataclasses import fields, replace
from pathlib import Path

import pytest

from siren_client.cli.lines import to_json_line, to_plain_line, without_words
from siren_client.cli.transcribe import transcribe
from siren_client.types import (
    Alternative,
    Final,
    Partial,
    SpeechEvent,
    SpeechEventType,
    Started,
    Word,
)

EVENT = SpeechEvent(type=SpeechEventType.SPEECH_ENDED, time_s=0.88)


def partial(text: str, stable_len: int) -> Partial:
    return Partial(text=text, stable_len=stable_len, seq=1, audio_processed_s=0.5)


def final(text: str) -> Final:
    return Final(text=text, seq=1, start_s=0.0, end_s=0.5)


@pytest.mark.parametrize(
    ("result", "line"),
    [
        (partial("seven up", 5), "[seven] up"),
        (partial("seven", 0), "[]seven"),
        (partial("seven", 5), "[seven]"),
        (partial("seven", 3), "[sev]en"),
        (final("seven up"), "seven up"),
        (final(""), None),
        (EVENT, None),
    ],
)
def test_plain_lines(result, line):
    assert to_plain_line(result, partials=True) == line


def test_partials_are_only_shown_when_asked_for():
    assert to_plain_line(partial("seven", 0), partials=False) is None


def test_json_lines_name_their_type():
    line = to_json_line(partial("naïve", 2), file="a.wav")
    assert "naïve" in line
    assert json.loads(line) == {
        "type": "partial",
        "file": "a.wav",
        "text": "naïve",
        "stable_len": 2,
        "seq": 1,
        "audio_processed_s": 0.5,
        "audio_received_s": 0.0,
        "words": [],
        "channel": 0,
    }
    assert json.loads(to_json_line(EVENT, file="a.wav")) == {
        "type": "event",
        "file": "a.wav",
        "event": "speech_ended",
        "time_s": 0.88,
        "channel": 0,
        "grace_left_s": None,
    }


PAGE = Path(__file__).parents[3] / "docs/command.md"


@pytest.mark.parametrize(
    ("name", "kind"),
    [("started", Started), ("partial", Partial), ("final", Final), ("event", SpeechEvent)],
)
def test_the_json_fields_are_documented(name, kind):
    """Scripts read them: each is told on the command's page and in --help, and none too many."""
    there = {"event" if field.name == "type" else field.name for field in fields(kind)}
    (row,) = re.findall(rf"^\| `{name}` \| (.*?) \|", PAGE.read_text(), re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", row)) == there
    (told,) = re.findall(rf"- `{name}`: ([^;-]*)", transcribe.__doc__ or "")
    assert set(re.findall(r"\w+", re.sub(r"\(.*?\)", "", told))) == there


WORDS = (
    Word(text="seven", start_s=0.4, end_s=0.56, confidence=0.975),
    Word(text="up", start_s=3601.2, end_s=3601.28),
)
SPOKEN = Final(text="seven up", seq=1, start_s=0.0, end_s=3602.0, words=WORDS, confidence=0.975)


def test_words_have_a_line_each_with_their_times():
    assert to_plain_line(SPOKEN, partials=False) == (
        "     0.40      0.56  0.97  seven\n  3601.20   3601.28     -  up"
    )


def test_alternatives_have_a_line_each():
    others = (Alternative(text="seven cup", probability=0.125),)
    said = replace(SPOKEN, alternatives=others)
    assert to_plain_line(without_words(said), partials=False) == "seven up\n  or 0.12  seven cup"
    silent = Final(text="", seq=1, start_s=0.0, end_s=1.0)
    assert to_plain_line(silent, partials=False) is None


def test_every_line_tells_its_channel_where_each_is_to():
    others = (Alternative(text="seven cup", probability=0.125),)
    said = replace(SPOKEN, alternatives=others, channel=1)
    lines = to_plain_line(said, partials=False, channels=True).splitlines()
    assert [line[:12] for line in lines] == ["channel 1:  "] * 3
    assert to_plain_line(without_words(said), partials=False, channels=True) == (
        "channel 1: seven up\nchannel 1:   or 0.12  seven cup"
    )
    moving = replace(partial("seven up", 5), channel=2)
    assert to_plain_line(moving, partials=True, channels=True) == "channel 2: [seven] up"
    assert to_plain_line(final(""), partials=False, channels=True) is None


def test_words_can_be_left_out():
    assert to_plain_line(without_words(SPOKEN), partials=False) == "seven up"
    assert without_words(EVENT) is EVENT


def test_json_lines_list_the_words():
    line = json.loads(to_json_line(SPOKEN, file="a.wav"))
    assert line["confidence"] == 0.975
    assert line["words"][0] == {
        "text": "seven",
        "start_s": 0.4,
        "end_s": 0.56,
        "confidence": 0.975,
        "is_stable": True,
    }

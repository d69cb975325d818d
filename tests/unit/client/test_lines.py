from __future__ import annotations

import json
import re
from dataclasses import fields
from pathlib import Path

import pytest

from siren_client.cli.lines import to_json_line, to_plain_line
from siren_client.cli.transcribe import transcribe
from siren_client.types import Final, Partial, SpeechEvent, SpeechEventType, Started

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
    }
    assert json.loads(to_json_line(EVENT, file="a.wav")) == {
        "type": "event",
        "file": "a.wav",
        "event": "speech_ended",
        "time_s": 0.88,
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

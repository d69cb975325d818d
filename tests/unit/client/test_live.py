from __future__ import annotations

import io

import pytest
from rich.console import Console

from siren_client.cli.live import (
    MARKS,
    PLAIN_MARKS,
    STABLE_STYLE,
    TAIL_STYLE,
    LiveState,
    LiveView,
    advance,
    marks_for,
    render_final,
    render_legend,
    render_started,
    render_state,
)
from siren_client.types import (
    AudioEncoding,
    Decoder,
    Final,
    Partial,
    SpeechEvent,
    SpeechEventType,
    Started,
)

STARTED = Started(
    session_id="s",
    model="small-en",
    language_code="en-US",
    encoding=AudioEncoding.LINEAR16,
    sample_rate_hertz=16000,
    chunk_frames=7,
    latency_ms=560,
    decoder=Decoder.RNNT,
)
PARTIAL = Partial(text="seven up", stable_len=5, seq=9, audio_processed_s=0.9)
FINAL = Final(text="seven up", seq=9, start_s=0.0, end_s=61.25)
SPEECH = SpeechEvent(type=SpeechEventType.SPEECH_STARTED, time_s=0.4)


def state_after(*results) -> LiveState:
    state = LiveState(duration_s=90.0)
    for result in results:
        state = advance(state, result)
    return state


def styled(text) -> dict[str, str]:
    return {text.plain[span.start : span.end]: str(span.style) for span in text.spans}


def test_a_partial_is_shown_with_its_two_parts_apart():
    drawn = render_state(state_after(STARTED, SPEECH, PARTIAL), max_chars=100)
    assert drawn.plain == "00:00.9 / 01:30.0 ● seven up"
    assert styled(drawn)["seven"] == STABLE_STYLE
    assert styled(drawn)[" up"] == TAIL_STYLE
    assert STABLE_STYLE != TAIL_STYLE


def test_a_final_clears_the_line_and_keeps_the_time():
    state = state_after(STARTED, SPEECH, PARTIAL, FINAL)
    assert (state.partial, state.is_speaking, state.audio_s) == (None, False, 61.25)
    assert render_state(state, max_chars=100).plain == "01:01.2 / 01:30.0 ○ "


def test_a_long_hypothesis_shows_its_end():
    partial = Partial(text="one two three four", stable_len=14, seq=1, audio_processed_s=1.0)
    drawn = render_state(state_after(partial), max_chars=8)
    assert drawn.plain.endswith("○ …ee four")
    assert styled(drawn)["ee "] == STABLE_STYLE


@pytest.mark.parametrize(
    "drawn",
    [
        render_final(FINAL),
        render_state(state_after(PARTIAL), max_chars=100),
        render_state(state_after(PARTIAL), max_chars=4),
    ],
)
def test_no_style_of_the_time_reaches_the_text(drawn):
    assert drawn.style == ""
    dim = [span for span in drawn.spans if span.style == "dim"]
    assert all(span.end <= len(drawn) - 2 for span in dim)


def test_a_final_leaves_a_line_with_its_times():
    assert render_final(FINAL).plain == "00:00.0 – 01:01.2   seven up"
    silent = Final(text="", seq=0, start_s=0.0, end_s=2.0)
    assert render_final(silent).plain == "00:00.0 – 00:02.0   (no speech)"


def test_the_legend_uses_the_styles_it_explains():
    assert styled(render_legend())["stable text"] == STABLE_STYLE
    assert styled(render_legend())["the tail"] == TAIL_STYLE


def test_started_says_what_the_server_chose():
    assert render_started(STARTED).plain == "small-en · en-US · 560 ms look-ahead · rnnt"


@pytest.mark.parametrize(
    ("encoding", "marks"),
    [("utf-8", MARKS), ("ascii", PLAIN_MARKS), ("latin-1", PLAIN_MARKS), ("none", PLAIN_MARKS)],
)
def test_a_terminal_gets_signs_it_can_show(encoding, marks):
    assert marks_for(encoding) is marks
    drawn = render_state(state_after(PARTIAL), max_chars=6, marks=PLAIN_MARKS)
    assert drawn.plain == "00:00.9 / 01:30.0 . ... up"
    for text in (
        render_final(FINAL, marks=PLAIN_MARKS),
        render_started(STARTED, marks=PLAIN_MARKS),
    ):
        assert text.plain.isascii()


@pytest.mark.parametrize("no_color", [False, True])
def test_the_view_draws_on_a_terminal(no_color):
    out = io.StringIO()
    console = Console(
        file=out,
        force_terminal=True,
        width=80,
        height=10,
        color_system="standard",
        no_color=no_color,
        highlight=False,
    )
    with LiveView(console, duration_s=90.0) as view:
        for result in (STARTED, SPEECH, PARTIAL, FINAL):
            view.show(result)
    assert out.getvalue().count("seven up") == 1  # the partial has its two styles between
    assert "small-en" in out.getvalue()
    assert ("\x1b[2;3;33m" in out.getvalue()) is not no_color

from __future__ import annotations

import io
import re
import sys
from dataclasses import replace

import pytest

from siren_client.cli.options import errors_console
from siren_client.cli.output import Format
from siren_client.cli.progress import ProgressBar, Tally
from siren_client.cli.show import shown
from siren_client.types import Final


def final(text: str) -> Final:
    return Final(text=text, seq=1, start_s=0.0, end_s=1.0)


@pytest.mark.parametrize("output_format", [Format.TEXT, Format.SRT, Format.VTT])
def test_a_recording_in_which_nobody_speaks_is_not_passed_over_in_silence(output_format, capsys):
    for texts, note in [(("",), True), (("", "seven"), False)]:
        with shown(output_format, file=None, duration_s=None, partials=False) as show:
            for text in texts:
                show(final(text))
        assert ("no speech was recognised" in capsys.readouterr().err) == note


def test_json_says_it_by_itself(capsys):
    with shown(Format.JSON, file=None, duration_s=None, partials=False) as show:
        show(final(""))
    assert capsys.readouterr().err == ""


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_text_on_a_terminal_is_the_live_view(monkeypatch):
    monkeypatch.setattr(sys, "stdout", terminal := Terminal())
    with shown(Format.TEXT, file=None, duration_s=None, partials=False, channels=True) as show:
        show(replace(final("seven"), channel=1))
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.getvalue())
    assert "the tail still may" in lines
    assert "00:00.0 – 00:01.0   channel 1: seven" in lines


@pytest.mark.parametrize("output", ["stdout", "stderr"])
def test_the_bar_is_drawn_where_standard_error_is_a_terminal(output, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr(sys, output, Terminal())
    monkeypatch.setattr(
        sys, "stderr", errors := sys.stderr if output == "stderr" else io.StringIO()
    )
    with ProgressBar(errors_console(), Tally([1.0], clock=lambda: 0.0)) as bar:
        bar.update()
    assert ("0/1 files" in errors.getvalue()) is (output == "stderr")


def fail_behind(results) -> None:
    with shown(Format.SRT, file=None, duration_s=None, partials=False) as show:
        for result in results:
            show(result)
        raise OSError("gone")


def test_subtitles_of_what_was_heard_come_though_the_stream_failed(capsys):
    with pytest.raises(OSError, match="gone"):
        fail_behind([final("seven")])
    assert "seven" in capsys.readouterr().out
    with pytest.raises(OSError, match="gone"):
        fail_behind([])
    assert capsys.readouterr() == ("", "")

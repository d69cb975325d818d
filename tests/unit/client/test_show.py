from __future__ import annotations

import pytest

from siren_client.cli.output import Format
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

from __future__ import annotations

import io

import pytest
from rich.console import Console

from siren_client.cli.models import render_models
from siren_client.cli.tables import fitting_table, tables_console
from siren_client.types import Decoder, LookAhead, Model

COLUMNS = ("session", "model", "peer")
ROWS = [("0123456789", "siren-mini-en", "ipv4:127.0.0.1:40162")]


def drawn(table: object, width: int) -> str:
    output = io.StringIO()
    Console(file=output, width=width).print(table)
    return output.getvalue()


@pytest.mark.parametrize(
    ("width", "left_out"),
    [(53, []), (52, ["peer"]), (30, ["peer"]), (29, ["peer", "model"]), (8, ["peer", "model"])],
)
def test_columns_that_can_be_spared_make_room(width, left_out):
    table, spared = fitting_table(COLUMNS, ROWS, width=width, spare=("peer", "model"))
    assert spared == left_out
    said = drawn(table, width)
    assert max(map(len, said.splitlines())) <= width
    assert "…" not in said
    for head, cell in zip(COLUMNS, ROWS[0], strict=True):
        assert (cell in said) == (head not in left_out and width > 8)


def test_an_id_is_whole_on_a_terminal_of_40_columns():
    model = Model(
        id="siren-mini-en",
        family="cache-aware-fastconformer",
        language_codes=("en",),
        sample_rate_hertz=16000,
        look_aheads=(LookAhead(chunk_frames=7, latency_ms=560, is_default=True),),
        decoders=(Decoder.CTC, Decoder.RNNT),
        is_default=True,
    )
    said = drawn(render_models([model], width=80), 80)
    assert "siren-mini-en *" in said
    assert "7 (560 ms) *" in said
    assert "siren-mini-en" in drawn(render_models([model], width=40), 40)


def test_a_reader_that_goes_away_is_the_commands_business(monkeypatch):
    class Closed(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    monkeypatch.setattr("sys.stdout", Closed())
    with pytest.raises(BrokenPipeError):
        tables_console().print("a table")


def test_a_pipe_has_room_for_everything(monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setattr("sys.stdout", io.StringIO())
    assert tables_console().width == 1000
    monkeypatch.setenv("COLUMNS", "60")
    assert tables_console().width == 60

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from siren_grpc.bench.commands import app
from siren_grpc.bench.options import numbers


def test_the_command_line_needs_neither_torch_nor_grpc() -> None:
    heavy = "{'torch', 'nemo', 'grpc'} & set(sys.modules)"
    code = f"import sys, siren_grpc.cli; print({heavy} or 'light')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "light"


@pytest.mark.parametrize("command", ["engine", "server", "long"])
def test_help_teaches_by_example(command: str) -> None:
    output = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"}).output
    plain = re.sub(r"\x1b\[[0-9;]*m", "", output)
    assert f"siren bench {command}" in plain
    assert "--json" in plain


def test_a_server_that_is_not_there_is_not_measured() -> None:
    arguments = ["server", "--target", "127.0.0.1:1", "--streams", "1", "--seconds", "1"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 1
    assert "no server to measure at 127.0.0.1:1: UNAVAILABLE" in done.output


def test_numbers_are_read_or_refused() -> None:
    assert numbers("1,4,16") == [1, 4, 16]
    for text in ("", "a", "1,,2", "0", "4,-1"):
        with pytest.raises(typer.BadParameter, match="positive numbers"):
            numbers(text)


def test_audio_that_cannot_be_played_is_named(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["server", "--audio", str(tmp_path / "missing.wav")])
    assert result.exit_code == 1
    assert "missing.wav" in result.output

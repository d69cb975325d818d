from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from siren_grpc.bench.commands import app
from siren_grpc.bench.options import numbers
from siren_grpc.bench.player import StreamReport
from siren_grpc.bench.server_bench import summarise
from siren_grpc.bench.server_process import ServerProcess


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


def serves_elsewhere(
    monkeypatch: pytest.MonkeyPatch, measure: Callable[..., dict[str, Any]] | None = None
) -> None:
    """Take the server of `--server` for there. measure: stands for the measuring of a rung."""
    monkeypatch.setattr("siren_grpc.bench.server_command.check_serving", lambda target: None)
    monkeypatch.setattr("siren_grpc.bench.generator.Generator", lambda n: StringIO())
    if measure is not None:
        monkeypatch.setattr("siren_grpc.bench.server_bench.measure_rung", measure)


def test_a_server_that_is_not_there_is_not_measured() -> None:
    arguments = ["server", "--server", "127.0.0.1:1", "--streams", "1", "--seconds", "1"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 1
    assert "no server to measure at 127.0.0.1:1: UNAVAILABLE" in done.output


def test_a_server_that_serves_no_stream_is_not_measured(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def measure(generator: object, target: object, n_streams: int, settings: Any) -> dict[str, Any]:
        refused = [StreamReport(error="INVALID_CONFIG")] * n_streams
        rung = summarise(refused, 0.0, 1.0, settings)
        return rung | {
            **{"streams": n_streams, "is_empty_handler": False},
            "server": {"cpu_cores": None, "rss_bytes": None},
        }

    serves_elsewhere(monkeypatch, measure)
    kept = tmp_path / "server.json"
    arguments = ["server", "--server", "127.0.0.1:1", "--streams", "1,2", "--json", str(kept)]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 1
    assert "2 x INVALID_CONFIG" in done.output
    assert "no stream was served: INVALID_CONFIG" in done.output
    assert "invalid" not in done.output
    assert kept.exists()


def test_a_server_that_ends_under_load_is_told_of_with_its_log(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def measure(generator: object, target: Any, n_streams: int, settings: Any) -> dict[str, Any]:
        os.kill(target.pid, signal.SIGKILL)
        with suppress(ChildProcessError):  # whoever reads its log was quicker
            os.waitid(os.P_PID, target.pid, os.WEXITED | os.WNOWAIT)
        rung = summarise([StreamReport(error="UNAVAILABLE")], 0.0, 1.0, settings)
        return rung | {
            **{"streams": n_streams, "is_empty_handler": False},
            "server": {"cpu_cores": None, "rss_bytes": None},
        }

    def start(flags: object, on_line: object) -> ServerProcess:
        return ServerProcess.empty_handler(chunk_ms=80)

    monkeypatch.setattr("siren_grpc.bench.server_bench.measure_rung", measure)
    monkeypatch.setattr("siren_grpc.bench.server_command.start_server", start)
    monkeypatch.setattr("siren_grpc.bench.generator.Generator", lambda n: StringIO())
    kept = tmp_path / "server.json"
    done = CliRunner().invoke(app, ["server", "--streams", "1", "--json", str(kept)])
    assert done.exit_code == 1
    assert "the server ended with status -9; the end of its log:" in done.output
    assert "listening on" in done.output
    assert kept.exists()


def held_up_to(most: int, measured: list[int], added_ms: dict[str, float] | None) -> Any:
    """Return what measures rungs: so many streams hold."""

    def measure(generator: object, target: Any, n_streams: int, settings: Any) -> dict[str, Any]:
        measured.append(n_streams)
        rung = summarise([StreamReport()], 0.0, 1.0, settings)
        return rung | {
            **{"streams": n_streams, "is_empty_handler": False, "held": n_streams <= most},
            "server": {"cpu_cores": None, "rss_bytes": None},
            **{"step_ms": added_ms and 9.0, "added_ms": added_ms},
        }

    return measure


@pytest.mark.parametrize("added_ms", [{"p50": 1.0, "p95": 9.0, "p99": 17.6}, None])
def test_a_ramp_measures_half_of_what_held(
    added_ms: dict[str, float] | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    measured: list[int] = []
    measure = held_up_to(13, measured, added_ms)
    serves_elsewhere(monkeypatch, measure)
    kept = tmp_path / "server.json"
    arguments = ["--server", "127.0.0.1:1", "--ramp", "--streams", "1", "--resolution", "0.01"]
    done = CliRunner().invoke(app, ["server", *arguments, "--json", str(kept)])

    assert done.exit_code == 0, done.output
    report = json.loads(kept.read_text())
    assert (report["largest_held"], report["half_load"]) == (13, 6)
    assert [rung["streams"] for rung in report["rungs"]] == sorted(measured)
    assert len(measured) == len(set(measured))
    assert 6 in measured
    says = "half load, 6 streams: p99 of partials is 18 ms over the mean step of 9 ms"
    assert (says in done.output) == (added_ms is not None)


def test_without_a_ramp_there_is_no_half(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    measured: list[int] = []
    measure = held_up_to(13, measured, None)
    serves_elsewhere(monkeypatch, measure)
    kept = tmp_path / "server.json"
    arguments = ["server", "--server", "127.0.0.1:1", "--streams", "8", "--json", str(kept)]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    assert measured == [8]
    assert json.loads(kept.read_text())["half_load"] is None


def test_metrics_that_are_not_there_are_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    serves_elsewhere(monkeypatch)
    arguments = ["server", "--server", "127.0.0.1:1", "--metrics", "127.0.0.1:1"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 1
    assert "no metrics at 127.0.0.1:1" in done.output

    done = CliRunner().invoke(app, ["server", "--metrics", "127.0.0.1:1"])
    assert done.exit_code == 2
    assert "--server" in done.output


def test_numbers_are_read_or_refused() -> None:
    assert numbers("1,4,16") == [1, 4, 16]
    for text in ("", "a", "1,,2", "0", "4,-1"):
        with pytest.raises(typer.BadParameter, match="positive numbers"):
            numbers(text)


def test_audio_that_cannot_be_played_is_named(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["server", "--audio", str(tmp_path / "missing.wav")])
    assert result.exit_code == 1
    assert "missing.wav" in result.output

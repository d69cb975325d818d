"""A little of `siren soak`: as much as there is time for here. The real runs take hours."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.support.audio import ROOT
from tests.support.server import SIREN, serving

pytestmark = pytest.mark.e2e

RECORDINGS = [
    f"--audio={ROOT}/tests/data/recordings/digits-{who}-16k.wav" for who in ("ked", "male")
]


def soak(journal: Path, *arguments: str) -> tuple[subprocess.CompletedProcess[str], list[dict]]:
    command = [str(SIREN), "soak", arguments[0], "--journal", str(journal), *arguments[1:]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    return done, [json.loads(line) for line in journal.read_text().splitlines()]


def test_sessions_leave_nothing_behind(tmp_path: Path) -> None:
    # Memory is not flat yet in a thousand sessions: the bound is for what leaks by the session.
    done, lines = soak(
        tmp_path / "churn.jsonl",
        *("churn", "--sessions", "1000", "--every", "250", "--bound-percent", "15"),
        *("--", "--front-ends", "1"),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    verdict = lines[-1]
    assert verdict["verdict"] == "passed"
    assert set(verdict["outcomes"]) >= {"cancelled", "left", "ended", "recording", "refused"}
    assert sum(verdict["outcomes"].values()) == 1000
    assert [line["sessions"] for line in lines[1:-1]] == [250, 500, 750, 1000]
    engine, front_end = lines[-2]["processes"]
    assert (engine["slots"], engine["sessions"], front_end["streams"]) == (0, 0, 0)
    assert front_end["rss_bytes"] > 2**24
    figure = tmp_path / "churn.svg"
    plot = [sys.executable, str(ROOT / "scripts/plot_soak.py"), str(tmp_path / "churn.jsonl")]
    subprocess.run([*plot, str(figure)], check=True)
    assert "Memory of the engine" in figure.read_text()


def test_a_long_stream_stays_right_behind_a_silence(tmp_path: Path) -> None:
    # Steps and memory are judged by hours, not by minutes on a busy machine.
    bounds = ("--memory-percent", "25", "--step-percent", "500")
    done, lines = soak(
        tmp_path / "stream.jsonl",
        *("stream", "--hours", "0.15", "--silence-hours", "0.05", "--window-s", "60"),
        *(*bounds, *RECORDINGS),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    words = lines[-1]["words"]
    assert words["before the silence"]["found"] > 100
    assert words["after the silence"]["found"] > 100
    assert words["behind the silence"]["found"] > 50


@pytest.mark.long
def test_a_leak_is_found_out(tmp_path: Path) -> None:
    """The census tells what is there: a stream that runs has a slot, a session and a call."""
    from siren_client import SirenClient
    from siren_grpc.server.census import read_line

    with serving("--max-sessions", "4", "--front-ends", "1") as server:
        target = server.target

        is_counted = threading.Event()

        def audio():
            yield bytes(3200)
            is_counted.wait(60)

        with SirenClient(target) as client:
            results = client.stream(audio(), reconnect=None)
            next(results)  # started: it has its slot
            server.signal(signal.SIGUSR1)
            server.wait_for(re.compile(r'census .*"front end"'))
            is_counted.set()
            list(results)
        found = [line for line in map(read_line, server.log.splitlines()) if line is not None]
    engine, front_end = found
    assert (engine["process"], engine["slots"], engine["sessions"]) == ("engine", 1, 1)
    assert (front_end["streams"], front_end["sessions"], front_end["resumable"]) == (1, 1, 0)
    assert engine["number"] == front_end["number"] == 1

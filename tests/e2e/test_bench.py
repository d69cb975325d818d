"""The benchmarks run and report what docs/benchmarks.md says; what they measure is not tested."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.server import SIREN, SirenServer

pytestmark = pytest.mark.e2e
DISTRIBUTION = {"n", "mean", "p50", "p95", "p99", "max"}


def bench(
    tmp_path: Path, command: str, *arguments: str, status: int = 0
) -> tuple[dict[str, Any], str]:
    path = tmp_path / "report.json"
    done = subprocess.run(
        [str(SIREN), "bench", command, "--json", str(path), *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == status, done.stdout + done.stderr
    report = json.loads(path.read_text())
    assert report["machine"]["cores"] >= 1
    assert report["machine"]["versions"]["torch"]
    assert "host" not in json.dumps(report["machine"]).lower()
    return report, done.stdout


@pytest.mark.slow
@pytest.mark.long
def test_engine_compares_all_contestants_on_the_same_audio(tmp_path: Path) -> None:
    report, output = bench(
        tmp_path, "engine", "--streams", "1,2", "--seconds", "0.2", "--threads", "1"
    )

    assert "one step of a batch" in output
    assert [run["decoder"] for run in report["runs"]] == ["ctc", "rnnt"]
    for run in report["runs"]:
        assert [batch["streams"] for batch in run["batches"]] == [1, 2]
        for batch in run["batches"]:
            names = {"siren", "siren as served", "bare loop", "nemo cache-aware"}
            if run["decoder"] == "rnnt":
                names |= {"nemo buffered"}
            assert set(batch["contestants"]) == names
            assert set(batch["absent"]) == {"nemo buffered"} - names
            for found in batch["contestants"].values():
                assert set(found["step_ms"]) == set(found["cpu_ms"]) == DISTRIBUTION
                assert found["real_time_streams"] > 0
            assert batch["contestants"]["siren"]["times_slower_than_siren"] == 1
            assert batch["contestants"]["siren"]["session_bytes"] > 100_000
            assert batch["different_words"]["bare loop"] == 0


def test_server_reports_latencies_of_live_streams(
    tmp_path: Path, running_server: SirenServer
) -> None:
    report, output = bench(
        tmp_path,
        "server",
        *("--server", running_server.target, "--streams", "2", "--seconds", "4"),
        *("--rate", "8000"),
        *("--bound-ms", "60000", "--lag-bound-ms", "60000"),
    )

    assert "streams in real time" in output
    (rung,) = report["rungs"]
    assert report["largest_held"] == rung["streams"] == 2
    assert rung["held"]
    assert rung["errors"] == {}
    assert rung["unanswered"] == 0
    assert set(rung["partial_ms"]) == set(rung["final_ms"]) == DISTRIBUTION
    assert rung["generator"]["lag_ms"]["n"] == 2 * 70  # 7 s of 100 ms packets each
    assert rung["messages_per_s"]["sent"] == pytest.approx(20)


def test_server_counts_refusals_by_reason(tmp_path: Path, running_server: SirenServer) -> None:
    report, _ = bench(
        tmp_path,
        "server",
        *("--server", running_server.target, "--streams", "1", "--seconds", "1"),
        *("--chunk-frames", "3"),
        status=1,
    )

    rung = report["rungs"][0]
    assert rung["errors"] == {"INVALID_CONFIG": 1}
    assert "1 x INVALID_CONFIG" in rung["reasons"]
    assert not rung["held"]
    assert report["largest_held"] is None


@pytest.mark.slow
@pytest.mark.long
def test_server_starts_one_and_an_empty_handler(tmp_path: Path) -> None:
    report, _ = bench(
        tmp_path,
        "server",
        "--streams",
        "1",
        "--seconds",
        "2",
        "--empty-handler",
        "--",
        "--threads=1",
    )

    (empty,) = report["empty_handler"]
    assert empty["is_empty_handler"]
    assert empty["final_ms"] is not None
    (rung,) = report["rungs"]
    assert 0 < rung["step_ms"] < rung["partial_ms"]["max"]
    assert rung["added_ms"]["p99"] < rung["partial_ms"]["p99"]
    assert empty["added_ms"] is None
    assert rung["server"]["rss_bytes"] > empty["server"]["rss_bytes"] > 0


@pytest.mark.slow
@pytest.mark.long
def test_long_keeps_minutes_and_their_change(tmp_path: Path) -> None:
    report, output = bench(tmp_path, "long", "--hours", "0.04", "--threads", "1")

    assert "One stream of" in output
    assert len(report["minutes"]) >= 2
    assert report["words"] > 0
    assert set(report["change"]) == {"step_ms", "rss_bytes", "state_bytes"}
    assert abs(report["change"]["state_bytes"]["percent"]) < 5

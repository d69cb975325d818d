from __future__ import annotations

from typing import Any

import pytest

from siren_grpc.bench.audio import load_recordings
from siren_grpc.bench.latency import Latency
from siren_grpc.bench.player import StreamReport, write_script
from siren_grpc.bench.server_bench import ServerBenchSettings, summarise


def make_settings(**changes: Any) -> ServerBenchSettings:
    values: dict[str, Any] = {
        "seconds": 10.0,
        "packet_ms": 100,
        "jitter_ms": 0.0,
        "bound_ms": 200.0,
        "lag_bound_ms": 50.0,
        "recordings": [],
        "options": {},
        "seed": 1,
    }
    return ServerBenchSettings(**(values | changes))


def make_report(**changes: Any) -> StreamReport:
    values: dict[str, Any] = {
        "partials": [Latency(20.0 + i, 0.05) for i in range(10)],
        "finals": [Latency(25.0, 0.08)],
        "n_sent": 100,
        "n_received": 20,
        "lags_s": [0.001] * 100,
    }
    return StreamReport(**(values | changes))


def summary(*reports: StreamReport) -> dict[str, Any]:
    return summarise(reports, 20.0, 30.0, make_settings())


def test_a_rung_without_fault_is_held() -> None:
    rung = summary(make_report(), make_report())
    assert rung["held"]
    assert rung["reasons"] == []
    assert rung["partial_ms"]["p95"] == pytest.approx(50)
    assert rung["final_ms"]["n"] == 2
    assert rung["messages_per_s"] == {"sent": pytest.approx(20), "received": pytest.approx(4)}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"partials": [Latency(21.0, 0.3)] * 10}, "partial p95"),
        ({"finals": [Latency(21.0, 0.3)]}, "final p95"),
        ({"partials": []}, "no partial"),
        ({"error": "OVERLOADED"}, "1 x OVERLOADED"),
        ({"n_unanswered": 1}, "finals missing"),
        ({"lags_s": [0.08] * 100}, "invalid: generator too slow"),
    ],
)
def test_a_fault_is_named(changes: dict[str, Any], reason: str) -> None:
    rung = summary(make_report(**changes))
    assert not rung["held"]
    assert reason in rung["reasons"]


def test_a_server_that_refuses_all_is_not_the_generators_fault() -> None:
    refused = {"partials": [], "finals": [], "n_sent": 0, "lags_s": [], "error": "INVALID_CONFIG"}
    rung = summary(make_report(**refused), make_report(**refused))
    assert rung["valid"]
    assert not rung["held"]
    assert rung["reasons"] == ["no partial", "no final", "2 x INVALID_CONFIG"]
    assert rung["served"] == 0
    assert summary(make_report(**refused), make_report())["served"] == 1


def test_what_came_before_all_streams_ran_does_not_count() -> None:
    early = [Latency(19.9, 9.0)] * 50
    rung = summary(make_report(partials=[*early, Latency(22.0, 0.05)]))
    assert rung["partial_ms"]["n"] == 1
    assert rung["held"]


def test_late_streams_and_errors_are_counted() -> None:
    late = make_report(partials=[Latency(21.0, 0.3)] * 3, error="OVERLOADED")
    rung = summary(make_report(), late, make_report(error="OVERLOADED"))
    assert rung["late_streams"] == 1
    assert rung["errors"] == {"OVERLOADED": 2}


def test_a_script_finalizes_at_pauses_and_has_all_its_audio() -> None:
    recordings = load_recordings([], sample_rate_hertz=16000)
    script = write_script(recordings, seconds=20, packet_ms=100, jitter_ms=20, seed=3)
    assert len(script.pcm) == 2 * 20 * 16000
    assert script.packets[-1].end_samples == 20 * 16000
    assert 1 <= len(script.finalized_behind) <= 6
    ends = {packet.end_samples for packet in script.packets}
    assert script.finalized_behind < ends
    same = write_script(recordings, seconds=20, packet_ms=100, jitter_ms=20, seed=3)
    assert same == script

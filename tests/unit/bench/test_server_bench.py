from __future__ import annotations

from time import monotonic
from typing import Any

import pytest

from siren_grpc.bench import server_bench
from siren_grpc.bench.audio import load_recordings
from siren_grpc.bench.latency import Latency
from siren_grpc.bench.player import Script, StreamReport, write_script
from siren_grpc.bench.server_bench import (
    ServerBenchSettings,
    Target,
    measure_rung,
    over_step,
    summarise,
)
from siren_grpc.bench.step_time import Steps


def make_settings(**changes: Any) -> ServerBenchSettings:
    values: dict[str, Any] = {
        "seconds": 10.0,
        "sample_rate_hertz": 16000,
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


class PlayedGenerator:
    """Has played already, for as long as the settings say: nobody waits for it."""

    pids: tuple[int, ...] = ()

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def start(self, load: Any) -> float:
        self.began_at = monotonic() - load.seconds
        return self.began_at

    def collect(self) -> list[StreamReport]:
        at = monotonic() - self.seconds / 2
        return [make_report(partials=[Latency(at, 0.05)] * 10, finals=[Latency(at, 0.08)])]


@pytest.mark.parametrize("metrics", ["127.0.0.1:9464", None])
def test_a_rung_says_what_is_added_to_the_steps_of_its_time(
    metrics: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = iter((Steps(10, 0.1), Steps(30, 0.4)))
    asked: list[str] = []
    monkeypatch.setattr(server_bench, "read_steps", lambda at: asked.append(at) or next(steps))
    target = Target("127.0.0.1:1", None, metrics)

    rung = measure_rung(PlayedGenerator(10.0), target, 1, make_settings())  # type: ignore[arg-type]

    if metrics is None:
        assert (asked, rung["step_ms"], rung["added_ms"]) == ([], None, None)
        return
    assert asked == [metrics] * 2
    assert rung["step_ms"] == pytest.approx(15.0)
    assert rung["added_ms"]["n"] == 10
    assert rung["added_ms"]["p99"] == pytest.approx(50.0 - 15.0)


def test_a_server_that_stops_telling_its_steps_is_measured_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def gone(address: str) -> Steps:
        raise OSError("no metrics")

    monkeypatch.setattr(server_bench, "read_steps", gone)
    target = Target("127.0.0.1:1", None, "127.0.0.1:9464")
    rung = measure_rung(PlayedGenerator(10.0), target, 1, make_settings())  # type: ignore[arg-type]
    assert rung["held"]
    assert rung["added_ms"] is None


def test_only_times_are_over_a_step() -> None:
    found = {"n": 4, "mean": 30.0, "p50": 20.0, "p95": 50.0, "p99": 60.0, "max": 70.0}
    less = {"n": 4, "mean": 18.0, "p50": 8.0, "p95": 38.0, "p99": 48.0, "max": 58.0}
    assert over_step(found, 12.0) == less
    assert over_step(None, 12.0) is None
    assert over_step(found, None) is None


@pytest.mark.parametrize("hertz", [8000, 16000])
def test_a_script_finalizes_at_pauses_and_has_all_its_audio(hertz: int) -> None:
    recordings = load_recordings([], sample_rate_hertz=hertz)

    def write() -> Script:
        return write_script(
            recordings,
            sample_rate_hertz=hertz,
            seconds=20,
            packet_ms=100,
            jitter_ms=20,
            seed=3,
        )

    script = write()
    assert script.sample_rate_hertz == hertz
    assert len(script.pcm) == 2 * 20 * hertz
    assert script.packets[-1].end_samples == 20 * hertz
    assert 1 <= len(script.finalized_behind) <= 6
    ends = {packet.end_samples for packet in script.packets}
    assert script.finalized_behind < ends
    assert write() == script

from __future__ import annotations

import pytest

from siren_grpc.abuse.live_stream import LiveStreamReport
from siren_grpc.bench.latency import Latency


def test_a_stream_that_reads_the_same_each_time_is_well() -> None:
    for end in ([], [""]):
        report = LiveStreamReport(finals=["one two", "one two", *end])
        assert report.faults() == []
        assert report.plays == ["one two"] * 2


@pytest.mark.parametrize(
    ("report", "told"),
    [
        (LiveStreamReport(["one", "two", ""]), ["the live stream read 'two', before 'one'"]),
        (LiveStreamReport(["one", "", "one", ""]), ["the live stream read '', before 'one'"]),
        (LiveStreamReport(["one", ""]), ["the live stream heard too little: ['one']"]),
        (LiveStreamReport(["", "", ""]), ["the live stream heard too little: ['', '']"]),
        (LiveStreamReport(["one", "one"], error="gone"), ["the live stream failed: gone"]),
    ],
    ids=lambda value: "" if isinstance(value, list) else " ".join(value.finals),
)
def test_a_stream_that_notices_something_tells(report: LiveStreamReport, told: list[str]) -> None:
    assert report.faults() == told


def test_latencies_are_those_of_what_was_sent_in_a_span() -> None:
    report = LiveStreamReport(partials=[Latency(1.0, 0.01), Latency(2.0, 0.02), Latency(3.0, 0.03)])
    assert report.latencies_ms(1.98, 2.97) == [20.0]
    stalled = LiveStreamReport(partials=[Latency(9.0, 6.5)])
    assert stalled.latencies_ms(2.0, 3.0) == [6500.0], "it came when the span was over"


def heard(alone_ms: float, *beside_ms: float) -> LiveStreamReport:
    """Return what was heard of a stream: four partials a second, 20 s alone and then beside."""
    latencies = [alone_ms] * 80 + list(beside_ms)
    sent = [(number / 4, ms / 1000) for number, ms in enumerate(latencies)]
    return LiveStreamReport(partials=[Latency(at_s + s, s) for at_s, s in sent])


@pytest.mark.parametrize(
    "report",
    [
        heard(12.0, *[38.0] * 80),
        heard(36.0, *[81.0] * 80),
        heard(12.0, *[38.0] * 76, *[5000.0] * 4),
        heard(300.0, *[790.0] * 80),
    ],
)
def test_a_stream_that_keeps_its_pace_is_well(report: LiveStreamReport) -> None:
    assert report.lateness(0.0, 20.0, 40.0) == []


@pytest.mark.parametrize(
    ("report", "told"),
    [
        (
            heard(12.0, *[38.0] * 75, *[250.0] * 5),
            "the live stream: partials came after 250 ms (p95) beside the attack, 12 ms alone: "
            "224 ms is the bound",
        ),
        (heard(12.0), "the live stream: there were no partials to time beside the attack"),
        (LiveStreamReport(), "the live stream: there were no partials to time alone"),
    ],
)
def test_a_stream_that_falls_behind_tells(report: LiveStreamReport, told: str) -> None:
    assert report.lateness(0.0, 20.0, 40.0) == [told]


def test_moments_are_too_few_partials_to_judge_by() -> None:
    report = heard(12.0, *[5000.0] * 80)
    assert report.lateness(0.0, 20.0, 29.0) == []
    assert report.lateness(11.0, 20.0, 40.0) == []
    assert report.lateness(0.0, 20.0, 30.0) != []

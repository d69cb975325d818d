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


def test_latencies_are_those_of_a_span() -> None:
    report = LiveStreamReport(partials=[Latency(1.0, 0.01), Latency(2.0, 0.02), Latency(3.0, 0.03)])
    assert report.latencies_ms(2.0, 3.0) == [20.0]

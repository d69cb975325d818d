"""What stays of a front end that is gone."""

from __future__ import annotations

from siren_grpc.observe import metrics
from siren_grpc.observe.instruments import Tally
from siren_grpc.server.observer import without_gauges


def test_a_dead_front_end_has_counted_but_holds_nothing() -> None:
    tally = Tally()
    tally.number(metrics.CALLS, "Recognize", "OK").value = 7
    tally.number(metrics.STREAMS_PARKED).value = 3
    tally.histogram(metrics.PARTIAL_LATENCY, "m").observe(0.1)
    left = without_gauges(tally.read())
    assert left[metrics.CALLS.name, ("Recognize", "OK")] == 7
    assert (metrics.PARTIAL_LATENCY.name, ("m",)) in left
    assert (metrics.STREAMS_PARKED.name, ()) not in left

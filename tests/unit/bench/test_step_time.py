"""How long the steps of live streams took is read from the server's own metrics."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from siren_grpc.bench.step_time import MetricsAddress, Steps, mean_step_ms, read_steps
from siren_grpc.observe import metrics
from siren_grpc.observe.exposition import Exposition, MetricsServer
from siren_grpc.observe.instruments import Tally


@pytest.fixture
def tally() -> Tally:
    return Tally()


@pytest.fixture
def address(tally: Tally) -> Iterator[str]:
    server = MetricsServer(Exposition({"counts": tally.read}), "127.0.0.1", 0)
    yield f"127.0.0.1:{server.port}"
    server.close()


def note(tally: Tally, kind: str, *durations_s: float, frames: str = "7") -> None:
    histogram = tally.histogram(metrics.STEP_DURATION, "m", frames, "rnnt", kind)
    for duration_s in durations_s:
        histogram.observe(duration_s)


def test_steps_of_live_streams_are_counted_whatever_their_lane(tally: Tally, address: str) -> None:
    assert read_steps(address) == Steps(0, 0.0)
    note(tally, "live", 0.010, 0.020)
    note(tally, "live", 0.030, frames="2")
    note(tally, "previews", 0.004)
    note(tally, "recordings", 5.0)

    found = read_steps(address)

    assert (found.n, found.total_s) == (4, pytest.approx(0.064))


def test_the_mean_is_that_of_the_steps_between() -> None:
    before, after = Steps(10, 0.1), Steps(30, 0.4)
    assert mean_step_ms(before, after) == pytest.approx(15.0)
    assert mean_step_ms(after, after) is None
    assert mean_step_ms(None, after) is None
    assert mean_step_ms(before, None) is None


def test_what_tells_no_metrics_is_an_error(address: str) -> None:
    for wrong in ("127.0.0.1:1", "127.0.0.1", "127.0.0.1:none", ""):
        with pytest.raises(OSError, match="metrics"):
            read_steps(wrong)


@pytest.mark.parametrize(
    ("line", "address"),
    [
        ("12:00:00 INFO siren: metrics on http://127.0.0.1:41234/metrics", "127.0.0.1:41234"),
        ('{"message": "metrics on http://::1:41234/metrics"}', "::1:41234"),
        ("12:00:00 INFO siren: listening on 127.0.0.1:50051", None),
    ],
)
def test_the_address_is_found_in_the_log(line: str, address: str | None) -> None:
    found = MetricsAddress()
    found.read(line)
    found.read("something else")
    assert found.address == address

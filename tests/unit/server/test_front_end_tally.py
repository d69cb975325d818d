"""What a front end counts: before anything has happened, and of whom it counts lateness."""

from __future__ import annotations

from time import monotonic
from types import SimpleNamespace
from typing import Any

import pytest
from siren.v1 import speech_pb2

from siren_grpc.domain.errors import RefusalCause
from siren_grpc.domain.results import Final, Partial
from siren_grpc.observe import metrics
from siren_grpc.observe.instruments import HistogramState, Snapshot
from siren_grpc.server.front_end_tally import FrontEndTally

METHODS = {m.name for m in speech_pb2.DESCRIPTOR.services_by_name["SpeechService"].methods}
HERTZ = 16_000


def make_stream(
    tally: FrontEndTally, *, is_live: bool, backlog_s: float = 0.0, waits_s: float | None = None
) -> Any:
    """Make what the tally sees of a stream. waits_s: its oldest chunk; None where none waits."""
    info = SimpleNamespace(features=SimpleNamespace(sample_rate_hertz=HERTZ))
    session = SimpleNamespace(
        info=info,
        backlog_samples=int(backlog_s * HERTZ),
        oldest_chunk_at=None if waits_s is None else monotonic() - waits_s,
    )
    parts = SimpleNamespace(
        session=session,
        ingress=SimpleNamespace(received_samples=0),
        record=tally.begin_stream("m", is_live=is_live),
    )
    return SimpleNamespace(parts=parts)


def n_observed(read: Snapshot, name: str, *labels: str) -> int:
    found = read.get((name, labels))
    return sum(found.counts) if isinstance(found, HistogramState) else 0


def test_faults_and_refusals_are_known_to_be_zero() -> None:
    """A counter that appears with its first event has not risen, to an alert."""
    read = FrontEndTally("front end 1").read((), n_parked=0)

    for cause in RefusalCause:
        assert read[metrics.ADMISSIONS_REFUSED.name, (cause.value,)] == 0
    for method in METHODS:
        for outcome in ("OK", "AUTH_FAILED", "INTERNAL_ERROR", "MODEL_ERROR"):
            assert read[metrics.CALLS.name, (method, outcome)] == 0


def test_refused_calls_are_counted_by_the_methods_there_are() -> None:
    tally = FrontEndTally("front end 1")
    before = tally.read((), n_parked=0).keys()
    for method in METHODS:
        tally.refuse_call(f"/siren.v1.SpeechService/{method}")
    for path in ("/siren.v1.SpeechService/Guess", "/other.Service/Recognize", "Recognize", ""):
        tally.refuse_call(path)

    read = tally.read((), n_parked=0)
    for method in METHODS:
        assert read[metrics.CALLS.name, (method, "AUTH_FAILED")] == 1
    assert read.keys() == before, "what strangers write is no label"
    assert tally.n_calls == len(METHODS)


def test_recordings_give_way_and_are_not_late() -> None:
    tally = FrontEndTally("front end 1")
    live = make_stream(tally, is_live=True, backlog_s=0.5, waits_s=3.0)
    recording = make_stream(tally, is_live=False, backlog_s=4.0, waits_s=60.0)
    oldest = (metrics.OLDEST_CHUNK.name, ("front end 1",))

    assert tally.read([recording], n_parked=0)[oldest] == 0
    for streams in ([live, recording], [recording, live]):
        read = tally.read(streams, n_parked=0)
        assert read[oldest] == pytest.approx(3.0, abs=1.0)
        assert read[metrics.BACKLOG.name, ("live",)] == 0.5
        assert read[metrics.BACKLOG.name, ("recording",)] == 4.0
    read = tally.read((), n_parked=0)
    assert [read[metrics.BACKLOG.name, (kind,)] for kind in ("live", "recording")] == [0, 0]


@pytest.mark.parametrize(("is_live", "kind"), [(True, "live"), (False, "recording")])
def test_finals_are_timed_by_kind(is_live: bool, kind: str) -> None:
    tally = FrontEndTally("front end 1")
    parts = make_stream(tally, is_live=is_live).parts

    parts.record.note(Final("one two", 0, 0, HERTZ, heard_at=1.0), parts.session, 31.0)

    read = tally.read((), n_parked=0)
    timed = {k: n_observed(read, metrics.FINAL_LATENCY.name, "m", k) for k in ("live", "recording")}
    assert timed == {"live": 0, "recording": 0} | {kind: 1}


def test_partials_that_nobody_is_sent_are_not_counted() -> None:
    tally = FrontEndTally("front end 1")
    for is_live in (True, False):
        parts = make_stream(tally, is_live=is_live).parts
        parts.record.note(Partial("one", 0, 0, HERTZ), parts.session, 31.0)

    assert tally.read((), n_parked=0)[metrics.PARTIALS.name, ("m",)] == 1

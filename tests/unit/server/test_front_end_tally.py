"""What a front end counts before anything has happened."""

from __future__ import annotations

from siren.v1 import speech_pb2

from siren_grpc.domain.errors import RefusalCause
from siren_grpc.observe import metrics
from siren_grpc.server.front_end_tally import FrontEndTally

METHODS = {m.name for m in speech_pb2.DESCRIPTOR.services_by_name["SpeechService"].methods}


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

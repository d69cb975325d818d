"""What a client that goes on elsewhere sees of a stream's cut short end."""

from __future__ import annotations

from siren.v1 import speech_pb2 as pb

from siren_grpc.server.cut_short import CutShort

Response = pb.StreamingRecognizeResponse
STARTED = Response(event=pb.SpeechEvent(type=pb.SpeechEvent.TYPE_SPEECH_STARTED))
ENDED = Response(event=pb.SpeechEvent(type=pb.SpeechEvent.TYPE_SPEECH_ENDED))
PARTIAL = Response(partial=pb.PartialResult(text="one", stable_len=3))
UPDATED = Response(updated=pb.ConfigUpdated())
SHUTDOWN = Response(final=pb.FinalResult(text="one", cause=pb.FinalResult.CAUSE_SHUTDOWN))
SILENCE = Response(final=pb.FinalResult(text="one", cause=pb.FinalResult.CAUSE_SILENCE))


def passed_on(*responses: Response) -> list[Response]:
    cut_short = CutShort()
    return [shown for response in responses for shown in cut_short.passed_on(response)]


def test_a_start_of_speech_in_the_cut_short_utterance_is_left_to_the_next_server() -> None:
    assert passed_on(STARTED, PARTIAL, ENDED, SHUTDOWN) == [SHUTDOWN]


def test_speech_that_was_told_before_ends() -> None:
    assert passed_on(PARTIAL, ENDED, SHUTDOWN) == [ENDED, SHUTDOWN]


def test_an_utterance_that_ended_before_is_whole() -> None:
    assert passed_on(STARTED, PARTIAL, ENDED, SILENCE, STARTED, ENDED, SHUTDOWN) == [
        *(STARTED, ENDED, SILENCE),
        SHUTDOWN,
    ]


def test_other_responses_are_passed_on_in_their_order() -> None:
    assert passed_on(UPDATED) == [UPDATED]
    assert passed_on(UPDATED, STARTED, UPDATED, ENDED, SILENCE) == [
        *(UPDATED, STARTED, UPDATED, ENDED),
        SILENCE,
    ]
    assert passed_on(STARTED, UPDATED, ENDED, SHUTDOWN) == [UPDATED, SHUTDOWN]


def test_no_partial_is_shown() -> None:
    assert passed_on(PARTIAL, SHUTDOWN) == [SHUTDOWN]

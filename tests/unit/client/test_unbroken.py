from __future__ import annotations

from copy import deepcopy

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from siren.v1 import speech_pb2 as pb

from siren_client import (
    Control,
    Final,
    Partial,
    Reason,
    Reconnect,
    Resumed,
    SirenError,
    SpeechEvent,
    SpeechEventType,
    Started,
)
from siren_client.reconnect import moved
from siren_client.text import keep_stable
from siren_client.unbroken import GiveUp, Retry, UnbrokenStream
from tests.support.client_results import BROKEN, UNKNOWN

SECOND = bytes(32_000)
POLICY = Reconnect(deadline_s=10, first_delay_s=1, max_delay_s=4)


def at(seconds: float) -> Duration:
    duration = Duration()
    duration.FromMilliseconds(round(seconds * 1000))
    return duration


def started(token: str = "t", received: int = 0) -> pb.StreamingRecognizeResponse:
    message = pb.StreamStarted(resume_token=token, received_requests=received)
    return pb.StreamingRecognizeResponse(started=message)


def partial(text: str, stable_len: int, time: float, seq: int) -> pb.StreamingRecognizeResponse:
    message = pb.PartialResult(text=text, stable_len=stable_len, audio_processed=at(time), seq=seq)
    return pb.StreamingRecognizeResponse(partial=message)


def final(
    text: str,
    start: float,
    end: float,
    seq: int,
    number: int,
    cause: str = "SILENCE",
    *,
    resume: float | None = None,
) -> pb.StreamingRecognizeResponse:
    message = pb.FinalResult(
        text=text,
        start_time=at(start),
        end_time=at(end),
        seq=seq,
        cause=f"CAUSE_{cause}",
        resume_time=at(end if resume is None else resume),
    )
    return pb.StreamingRecognizeResponse(final=message, number=number)


class Caller:
    """Runs a stream against what the test says the server answers."""

    def __init__(
        self, n_seconds: int, policy: Reconnect | None = POLICY, encoding: str = "LINEAR16"
    ) -> None:
        config = pb.StreamingConfig(encoding=f"AUDIO_ENCODING_{encoding}")
        self.stream = UnbrokenStream(config, policy)
        self.now = 0.0
        self.first = self.stream.begin_call()
        for _ in range(n_seconds):
            self.stream.push(SECOND)

    def sent(self) -> list[int]:
        """Return the seqs of what the call sends now; 0 for a control."""
        seqs = []
        while (request := self.stream.next_request()) is not None:
            seqs.append(request.audio.seq)
        return seqs

    def hear(self, *responses: pb.StreamingRecognizeResponse) -> list:
        return [r for response in responses for r in self.stream.receive(response, now=self.now)]

    def fail(self, error: SirenError = BROKEN, deadline: float | None = None) -> Retry | GiveUp:
        return self.stream.fail(error, now=self.now, jitter=0.0, deadline=deadline)

    def break_and_begin(self, error: SirenError = BROKEN) -> pb.StreamingRecognizeRequest:
        assert isinstance(self.fail(error), Retry)
        self.first = self.stream.begin_call()
        return self.first


def test_a_resumed_stream_sends_what_the_server_has_not_taken():
    caller = Caller(3)
    assert caller.first.config.resumable
    assert caller.sent() == [1, 2, 3]
    (first, *_) = caller.hear(started(), final("a", 0, 1, 1, number=1))
    assert isinstance(first, Started)
    resume = caller.break_and_begin().resume
    assert (resume.token, resume.last_result) == ("t", 1)
    assert caller.sent() == []  # until the server says from where on
    assert caller.hear(started(received=2)) == [Resumed(outage_s=0.0, is_replay=False)]
    assert caller.sent() == [3]


def test_a_server_that_does_not_know_the_stream_gets_the_audio_again():
    caller = Caller(3)
    caller.sent()
    caller.hear(started(), final("a", 0, 1, 1, number=1, cause="SILENCE", resume=0.75))
    caller.break_and_begin()
    assert caller.break_and_begin(UNKNOWN).config.resumable
    assert caller.hear(started("u")) == [Resumed(outage_s=0.0, is_replay=True)]
    assert caller.sent() == [1, 2, 3]  # of the first the last quarter
    # Its times count from there; what was final does not begin again.
    (again,) = caller.hear(final("b", 0, 1, 2, number=1))
    assert (again.text, again.start_s, again.end_s, again.seq) == ("b", 1.0, 1.75, 2)


def test_a_final_accounts_for_its_own_audio_only_whatever_a_partial_read_ahead():
    caller = Caller(3)
    caller.sent()
    caller.hear(started())
    ahead, own = caller.hear(partial("a", 0, 2.0, 2), final("a", 0, 1.5, 1, number=1))
    assert (ahead.seq, own.seq) == (2, 1)
    caller.break_and_begin()
    caller.break_and_begin(UNKNOWN)
    caller.hear(started("u"))
    (unheard,) = caller.hear(final("b", 0, 0.25, 0, number=1))  # no message ends there
    assert unheard.seq == 1


def test_finals_that_a_replay_repeats_are_shown_once():
    caller = Caller(3)
    caller.sent()
    caller.hear(started(""), final("a", 0, 1, 1, 1, resume=0), final("b", 1, 2, 2, 2, resume=0))
    caller.break_and_begin()
    caller.hear(started(""))
    assert caller.sent() == [1, 2, 3]
    repeated = (partial("a", 1, 0.5, 1), final("a", 0, 1, 1, 1, resume=0), partial("b", 1, 1.5, 1))
    assert caller.hear(*repeated, final("b", 1, 2, 2, 2, resume=0)) == []
    shown = caller.hear(partial("c", 1, 2.5, 2), final("c", 2, 3, 3, 3, resume=0))
    assert [result.text for result in shown] == ["c", "c"]


def test_a_replay_shows_nothing_older_than_what_was_shown():
    caller = Caller(3)
    caller.sent()
    caller.hear(started(""), partial("one two", 7, 2.0, 2))
    caller.break_and_begin()
    caller.hear(started(""))
    assert caller.hear(partial("one", 3, 1.0, 1), partial("one two", 3, 2.0, 2)) == []
    (shown,) = caller.hear(partial("one two three", 7, 2.5, 2))
    assert shown.stable == "one two"


@pytest.mark.parametrize(
    ("text", "stable_len", "kept"),
    [
        ("one two three", 7, "one two three"),
        ("one too three", 7, "one two three"),
        ("won", 3, "one two"),
        ("", 0, "one two"),
    ],
)
def test_text_that_was_stable_stays(text, stable_len, kept):
    joined, length = keep_stable("one two", text, stable_len)
    assert joined == kept
    assert 7 <= length <= len(joined)


# Of compressed audio, times do not tell where a message lies.
EITHER_KIND = pytest.mark.parametrize("encoding", ["LINEAR16", "OGG_OPUS"])


OLD, NEW = partial("old words", 9, 1.0, 1), partial("new", 3, 2.0, 2)


@EITHER_KIND
@pytest.mark.parametrize(
    ("before", "behind", "text"),
    [
        pytest.param([OLD], NEW, "new", id="nothing of the old utterance is expected"),
        pytest.param([OLD, NEW], final("knew it", 1.0, 2.0, 2, 1), "new it", id="the new one's is"),
    ],
)
def test_a_replay_shows_what_lies_behind_a_reset(encoding: str, before, behind, text: str):
    caller = Caller(1, encoding=encoding)
    caller.stream.push(Control.RESET)
    caller.stream.push(SECOND)
    caller.sent()
    caller.hear(started(""), *map(deepcopy, before))
    caller.break_and_begin()
    _, shown = caller.hear(started(""), deepcopy(behind))
    assert shown.text == text


@EITHER_KIND
def test_an_utterance_that_is_finalized_is_none_that_is_thrown_away(encoding: str):
    caller = Caller(1, encoding=encoding)
    caller.stream.push(Control.FINALIZE)
    caller.stream.push(Control.RESET)
    caller.sent()
    caller.hear(started(""), partial("new", 3, 1.0, 1))
    caller.break_and_begin()
    _, shown = caller.hear(started(""), final("knew it", 0, 1.0, 1, 1, "FINALIZE"))
    assert shown.text == "new it"


@EITHER_KIND
@pytest.mark.parametrize("audio_s", [1.0, 2.343])
def test_a_final_of_no_audio_behind_a_reset_has_no_old_text(audio_s: float, encoding: str):
    caller = Caller(0, encoding=encoding)
    for item in (bytes(2 * round(audio_s * 16000)), Control.RESET, Control.FINALIZE):
        caller.stream.push(item)
    caller.sent()
    caller.hear(started(""), partial("old words", 9, audio_s, 1))
    caller.break_and_begin()
    caller.hear(started(""))
    (shown,) = caller.hear(final("", audio_s, audio_s, 1, 1, "FINALIZE"))
    assert shown.text == ""


@EITHER_KIND
def test_a_reset_that_is_asked_for_while_it_is_replayed_holds_too(encoding: str):
    caller = Caller(1, encoding=encoding)
    caller.sent()
    caller.hear(started(""), partial("old words", 9, 1.0, 1))
    caller.break_and_begin()
    for item in (Control.RESET, Control.FINALIZE):
        caller.stream.push(item)
    caller.sent()
    caller.hear(started(""))
    (shown,) = caller.hear(final("", 1.0, 1.0, 1, 1, "FINALIZE"))
    assert shown.text == ""


def test_the_final_of_a_server_that_stops_is_for_the_worst_case():
    stopping = SirenError(grpc.StatusCode.UNAVAILABLE, "stops", reason=Reason.SHUTTING_DOWN)
    caller = Caller(2)
    caller.sent()
    assert len(caller.hear(started(), final("cut sh", 0, 1.5, 1, 1, cause="SHUTDOWN"))) == 1
    assert caller.break_and_begin(stopping).HasField("config")
    caller.now = 11.0
    outcome = caller.fail()
    assert isinstance(outcome, GiveUp)
    assert [result.text for result in outcome.results] == ["cut sh"]
    assert outcome.error is BROKEN


def test_waits_grow_and_progress_makes_them_short_again():
    caller = Caller(1)
    caller.sent()
    caller.hear(started(""))
    delays = []
    for _ in range(5):
        delays.append(caller.fail().delay_s)
        caller.stream.begin_call()
    assert delays == [0, 1, 2, 4, 4]
    caller.hear(started(""), partial("a", 1, 1.0, 1))
    assert caller.fail() == Retry(0)


def test_outages_without_progress_add_up_to_the_deadline():
    caller = Caller(1)
    caller.sent()
    caller.hear(started(""))
    for _ in range(3):
        caller.break_and_begin()
        caller.now += 4.0
        caller.hear(started(""))
    assert isinstance(caller.fail(), GiveUp)


def test_the_callers_time_is_up_before_the_next_attempt():
    caller = Caller(1)
    caller.sent()
    caller.hear(started(""), final("cut sh", 0, 0.5, 1, 1, cause="SHUTDOWN"))
    caller.now = 2.0
    assert caller.fail(deadline=2.5) == Retry(0), "the first is made at once"
    caller.stream.begin_call()
    outcome = caller.fail(deadline=2.5)
    assert isinstance(outcome, GiveUp)
    assert [result.text for result in outcome.results] == ["cut sh"]
    assert outcome.delay_s == 0.5, "it lasts as long as the caller said"
    assert outcome.error.status is grpc.StatusCode.DEADLINE_EXCEEDED
    assert outcome.error.reason is None
    assert outcome.error.__cause__ is BROKEN
    caller.now = 9.0
    assert caller.fail(deadline=2.5).delay_s == 0.0


def test_a_server_says_how_long_to_wait():
    full = SirenError(
        grpc.StatusCode.RESOURCE_EXHAUSTED, "full", reason=Reason.OVERLOADED, retry_after_s=3.0
    )
    caller = Caller(1)
    assert caller.fail(full) == GiveUp((), full)  # no stream was broken
    caller.hear(started(""))
    caller.break_and_begin()
    assert caller.fail(full) == Retry(3.0)


@pytest.mark.parametrize(
    "error",
    [
        SirenError(grpc.StatusCode.INTERNAL, "failed", reason=Reason.MODEL_ERROR),
        SirenError(grpc.StatusCode.INVALID_ARGUMENT, "half", reason=Reason.INVALID_AUDIO),
        SirenError(grpc.StatusCode.DEADLINE_EXCEEDED, "timeout"),
    ],
)
def test_what_would_fail_again_is_not_tried_again(error):
    caller = Caller(1)
    caller.hear(started())
    assert caller.fail(error) == GiveUp((), error)


def test_a_break_behind_the_last_final_is_none():
    caller = Caller(1)
    caller.stream.end()
    assert caller.sent() == [1, 0]
    caller.hear(started(), final("a", 0, 1, 1, 1, cause="END"))
    assert caller.fail() == GiveUp((), None)


def test_an_error_behind_the_last_final_is_told():
    caller = Caller(1)
    caller.stream.end()
    caller.sent()
    caller.hear(started(), final("a", 0, 1, 1, 1, cause="END"))
    bad = SirenError(grpc.StatusCode.INVALID_ARGUMENT, "cut short", reason=Reason.INVALID_AUDIO)
    assert caller.fail(bad) == GiveUp((), bad)


def test_a_replay_says_once_that_speech_started_though_a_preview_comes_first():
    event = pb.StreamingRecognizeResponse(
        event=pb.SpeechEvent(type=pb.SpeechEvent.TYPE_SPEECH_STARTED, time=at(0.5)), number=1
    )
    caller = Caller(3)
    caller.sent()
    shown = caller.hear(started(""), event)
    caller.break_and_begin()
    preview = partial("a", 0, 0.6, 0)
    shown += caller.hear(started(""), preview, event, partial("a", 1, 1.0, 0))
    assert [type(result).__name__ for result in shown] == [
        "Started",
        "SpeechEvent",
        "Resumed",
        "Partial",
        "Partial",
    ]


@pytest.mark.parametrize("are_shown", [False, True], ids=["no partials", "partials"])
def test_a_replay_says_where_speech_started_behind_a_reset(are_shown: bool):
    def speech(time: float) -> pb.StreamingRecognizeResponse:
        kind = pb.SpeechEvent.TYPE_SPEECH_STARTED
        return pb.StreamingRecognizeResponse(event=pb.SpeechEvent(type=kind, time=at(time)))

    caller = Caller(1)
    caller.stream.push(Control.RESET)
    caller.stream.push(SECOND)
    caller.sent()
    shown = caller.hear(started(""), speech(0.5))
    caller.break_and_begin()
    again = [
        speech(0.6),
        partial("a", 1, 1.0, 1),
        speech(1.5),
        speech(1.5),
        partial("b", 1, 2.0, 2),
    ]
    shown += caller.hear(started(""), *[r for r in again if are_shown or r.HasField("event")])
    assert [r.time_s for r in shown if isinstance(r, SpeechEvent)] == [0.5, 1.5]


def test_an_utterance_too_long_for_the_buffer_says_so():
    caller = Caller(3, Reconnect(max_buffer_bytes=40_000))
    caller.hear(started(""))
    caller.sent()
    outcome = caller.fail()
    assert isinstance(outcome, GiveUp)
    assert "max_buffer_bytes" in str(outcome.error)


def test_without_a_policy_a_stream_is_one_call():
    caller = Caller(1, policy=None)
    assert not caller.first.config.resumable
    caller.hear(started(""))
    assert caller.fail() == GiveUp((), BROKEN)


def test_without_a_policy_results_are_as_they_come_and_nothing_is_kept():
    stream = UnbrokenStream(pb.StreamingConfig(), None)
    stream.begin_call()
    finals = []
    for _ in range(3):
        for item in (bytes(3200), Control.FINALIZE):
            stream.push(item)
            assert stream.next_request() is not None
        finals += stream.receive(final("one", 0, 0.1, 0, 0, "FINALIZE"), now=0)
    assert [result.text for result in finals] == ["one"] * 3
    assert stream._buffer.first == stream._buffer.end


def test_only_a_stream_that_is_kept_is_left_with_a_word():
    caller = Caller(1)
    assert caller.stream.leave() is None
    caller.hear(started())
    goodbye = caller.stream.leave()
    assert goodbye == pb.StreamingRecognizeRequest(resume=pb.Resume(token="t", discard=True))


def test_a_policy_that_makes_no_sense_is_refused():
    with pytest.raises(ValueError, match="negative"):
        Reconnect(deadline_s=-1)
    with pytest.raises(ValueError, match="negative"):
        Reconnect(max_buffer_bytes=-1)


def test_the_types_a_caller_sees():
    caller = Caller(1)
    results = caller.hear(started(), partial("a", 1, 1.0, 1), final("a", 0, 1, 1, 1))
    assert [type(result) for result in results] == [Started, Partial, Final]


def test_streams_with_separate_channels_are_one_call():
    config = pb.StreamingConfig(channel_count=2, channel_mode=pb.CHANNEL_MODE_SEPARATE)
    stream = UnbrokenStream(config, POLICY)
    assert not stream.begin_call().config.resumable
    assert stream.fail(BROKEN, now=0.0, jitter=0.0) == GiveUp((), BROKEN)


DRAINING = pb.StreamingRecognizeResponse(
    event=pb.SpeechEvent(type=pb.SpeechEvent.TYPE_SERVER_DRAINING, time=at(1), grace_left=at(20)),
    number=1,
)


def test_a_server_that_drains_is_left_between_two_utterances():
    caller = Caller(4)
    caller.hear(started(), partial("one", 0, 0.5, 1))
    assert caller.hear(DRAINING) == []
    assert not caller.stream.wants_to_move, "within an utterance"
    caller.hear(final("one", 0, 1, 1, 2))
    assert caller.stream.wants_to_move
    caller.stream.stay()
    assert not caller.stream.wants_to_move, "nobody else serves: asked again behind the next"
    caller.hear(partial("two", 0, 1.5, 1), final("two", 1, 2, 2, 3))
    assert caller.stream.wants_to_move
    first = caller.break_and_begin(moved())
    assert first.WhichOneof("request") == "config", "it is not resumed elsewhere"
    assert not caller.stream.wants_to_move
    caller.hear(started())
    assert caller.sent() == [3, 4], "only what was said since"


def test_in_silence_it_is_left_at_once_and_never_where_the_end_was_sent():
    caller = Caller(2)
    caller.hear(started(), DRAINING)
    assert caller.stream.wants_to_move
    caller.stream.end()
    assert not caller.stream.wants_to_move


def test_a_stream_that_cannot_be_sent_again_stays():
    caller = Caller(2, Reconnect(max_buffer_bytes=1000))
    caller.hear(started())
    assert caller.sent() == [1, 2]
    caller.hear(DRAINING)
    assert not caller.stream.wants_to_move


def test_who_does_not_reconnect_is_told_that_the_server_drains():
    caller = Caller(1, None)
    (event,) = caller.hear(DRAINING)
    assert event == SpeechEvent(type=SpeechEventType.SERVER_DRAINING, time_s=1.0, grace_left_s=20.0)
    assert not caller.stream.wants_to_move

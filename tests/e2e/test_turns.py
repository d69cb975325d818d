"""Utterances that end by themselves, and what else a client may steer while it speaks."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator

import numpy as np
import pytest
from siren.v1 import speech_pb2 as pb

from tests.support.audio import Recording, shipped_recordings, spoken_digits
from tests.support.server import SirenServer
from tests.support.wire import END, FINALIZE, Exchange, Wire, audio, config, cut, every, failure

pytestmark = pytest.mark.e2e

HERTZ = 16_000
SPOKEN = [r for r in spoken_digits() if r.sample_rate_hertz == HERTZ]
GAP_S = 1.6
Endpointing = pb.EndpointingConfig
Request = pb.StreamingRecognizeRequest


def silence(seconds: float) -> bytes:
    return bytes(2 * int(seconds * HERTZ))


def conversation(recordings: list[Recording] = SPOKEN) -> tuple[bytes, list[tuple[float, float]]]:
    """Return recordings with silence behind each, and from when to when each lasts."""
    pcm, spans = b"", []
    for recording in recordings:
        start = len(pcm) / 2 / HERTZ
        pcm += recording.pcm + silence(GAP_S)
        spans.append((start, start + recording.duration_s))
    return pcm, spans


def spoken_recordings() -> list[Recording]:
    recordings = [r for r in shipped_recordings() if r.sample_rate_hertz == HERTZ]
    return [recording for recording in recordings if recording.reference]


def essence(exchange: Exchange) -> list[tuple[object, ...]]:
    assert exchange.error is None
    return [
        (
            final.text,
            final.start_time.ToMilliseconds(),
            final.end_time.ToMilliseconds(),
            final.cause,
        )
        for final in exchange.of("final")
    ]


@pytest.mark.parametrize("state", ["STATE_SOFT", "STATE_HARD"])
@pytest.mark.parametrize("chunk_frames", [2, 7, 14])
def test_a_conversation_falls_into_its_utterances(
    wire: Wire, chunk_frames: int, state: str
) -> None:
    pcm, spans = conversation()
    rules = Endpointing(state=state, min_silence_ms=800)
    exchange = wire.recognise(pcm, chunk_frames=chunk_frames, endpointing=rules)
    assert exchange.error is None
    *finals, last = exchange.of("final")
    assert [final.text for final in finals] == [recording.reference for recording in SPOKEN]
    assert {final.cause for final in finals} == {pb.FinalResult.CAUSE_SILENCE}
    assert (last.text, last.cause) == ("", pb.FinalResult.CAUSE_END)
    position = 0
    for final, (_, spoken_until) in zip(finals, spans, strict=True):
        assert final.start_time.ToNanoseconds() == position
        position = final.end_time.ToNanoseconds()
        # 800 ms of silence, the decoder's own delay, and what is silent in the recording itself.
        assert spoken_until + 0.3 < position / 1e9 < spoken_until + 1.2
        assert final.audio_received.ToNanoseconds() >= position
        assert 0 < final.delay.ToNanoseconds() < 60e9
        # Promise 2: the last message that ends by the utterance's end.
        assert final.seq == position // 100_000_000
    assert last.start_time.ToNanoseconds() == position
    kinds = [
        (event.event.type, event.event.time.ToMilliseconds())
        for event in exchange.responses
        if event.WhichOneof("response") == "event"
    ]
    assert [kind for kind, _ in kinds] == [1, 2] * len(SPOKEN)
    assert [at for _, at in kinds] == sorted(at for _, at in kinds)


@pytest.mark.parametrize("state", ["STATE_SOFT", "STATE_HARD"])
@pytest.mark.parametrize("seed", range(3))
def test_cutting_moves_no_endpoint(wire: Wire, seed: int, state: str) -> None:
    """Promise 3, with the rewinds of hard endpoints behind it."""
    pcm, _ = conversation()
    rules = Endpointing(state=state, min_silence_ms=300, no_speech_ms=1000)
    draw = random.Random(seed)
    sizes = [int(10 ** draw.uniform(0.5, 4.5)) for _ in range(3000)]
    at_once = wire.recognise(pcm, [pcm], chunk_frames=7, endpointing=rules)
    in_pieces = wire.recognise(pcm, cut(pcm, sizes), chunk_frames=7, endpointing=rules)
    assert essence(in_pieces) == essence(at_once)
    assert pb.FinalResult.CAUSE_NO_SPEECH in {cause for *_, cause in essence(at_once)}


@pytest.mark.parametrize("state", ["STATE_SOFT", "STATE_HARD"])
@pytest.mark.parametrize("chunk_frames", [2, 7])
def test_the_vad_ends_utterances_where_the_voice_does(
    wire: Wire, chunk_frames: int, state: str
) -> None:
    pcm, spans = conversation()
    rules = Endpointing(detector="DETECTOR_VAD", min_silence_ms=600, state=state)
    exchange = wire.recognise(pcm, chunk_frames=chunk_frames, endpointing=rules)
    assert exchange.error is None
    *finals, last = exchange.of("final")
    assert last.text == ""
    assert [final.text for final in finals] == [recording.reference for recording in SPOKEN]
    ends = [e.time.ToMilliseconds() for e in exchange.of("event") if e.type == 2]
    starts = [e.time.ToMilliseconds() for e in exchange.of("event") if e.type == 1]
    for (spoken_from, spoken_until), start, end, final in zip(
        spans, starts, ends, finals, strict=True
    ):
        assert spoken_from - 0.1 < start / 1000 < spoken_from + 0.5
        assert spoken_until - 0.5 < end / 1000 < spoken_until + 0.2
        assert final.end_time.ToMilliseconds() == end + 600
    in_pieces = wire.recognise(pcm, every(1111, pcm), chunk_frames=chunk_frames, endpointing=rules)
    assert essence(in_pieces) == essence(exchange)


def test_the_vad_costs_no_word(wire: Wire) -> None:
    """Whatever it takes for silence is recognised all the same."""
    pcm, _ = conversation()
    for threshold, min_speech_ms in ((0.95, 10_000), (0.2, 0)):
        rules = Endpointing(
            detector="DETECTOR_VAD",
            min_silence_ms=100,
            speech_threshold=threshold,
            min_speech_ms=min_speech_ms,
        )
        exchange = wire.recognise(pcm, endpointing=rules)
        joined = " ".join(text for text in exchange.finals if text)
        assert joined == " ".join(recording.reference for recording in SPOKEN)


def test_the_vad_may_begin_within_a_stream(wire: Wire) -> None:
    pcm, _ = conversation()
    update = pb.ConfigUpdate(endpointing=Endpointing(detector="DETECTOR_VAD"))
    requests = [config(), audio(SPOKEN[0].pcm), Request(update=update), audio(silence(1.6) + pcm)]
    exchange = wire.exchange(requests)
    assert exchange.error is None
    spoken = [recording.reference for recording in SPOKEN]
    assert exchange.finals == [spoken[0], *spoken, ""]
    (updated,) = exchange.of("updated")
    assert updated.endpointing.min_speech_ms == 250
    assert updated.endpointing.speech_threshold == pytest.approx(0.5)


def test_hard_utterances_read_as_they_would_alone(wire: Wire) -> None:
    """What was said before leaves nothing behind, noise and half words included."""
    noise = np.random.default_rng(1).normal(0, 1500, HERTZ).astype("<i2").tobytes()
    rules = Endpointing(state="STATE_HARD", min_silence_ms=500)
    pcm = noise + conversation(spoken_recordings())[0]
    finals = wire.recognise(pcm, endpointing=rules).of("final")
    assert len(finals) >= 4
    for i, final in enumerate(finals[1:], 1):
        # The fresh state hears half of the silence that ended the utterance before.
        start = 2 * (final.start_time.ToNanoseconds() * HERTZ // 1_000_000_000 - HERTZ // 4)
        alone = wire.recognise(pcm[start:], endpointing=rules)
        assert alone.finals == [later.text for later in finals[i:]]


def test_a_single_utterance_ends_the_stream(wire: Wire) -> None:
    pcm, spans = conversation()
    rules = Endpointing(single_utterance=True)

    def endless() -> Iterator[Request]:
        yield config(endpointing=rules)
        for data in every(3200, pcm):
            yield audio(data)
        while True:  # half-closes only when the server has ended the call
            yield audio(silence(0.1))

    exchange = wire.exchange(endless())
    assert exchange.error is None
    assert exchange.finals == [SPOKEN[0].reference]
    (final,) = exchange.of("final")
    assert final.end_time.ToNanoseconds() / 1e9 < spans[1][0]


def test_minutes_of_silence_and_then_a_word(wire: Wire) -> None:
    """Zero PCM wedges nothing, and costs no word behind it."""
    recording = SPOKEN[0]
    pcm = silence(170) + recording.pcm
    for state in ("STATE_SOFT", "STATE_HARD"):
        rules = Endpointing(state=state, no_speech_ms=60_000)
        exchange = wire.recognise(pcm, every(320_000, pcm), endpointing=rules)
        assert exchange.finals == ["", "", recording.reference]
        assert [final.cause for final in exchange.of("final")] == [6, 6, 1]


@pytest.mark.parametrize("seconds", [0.0, 0.05, 0.2])
def test_every_finalize_has_one_final_however_little_was_said(wire: Wire, seconds: float) -> None:
    recording = SPOKEN[0]
    word = recording.pcm[: 2 * int(seconds * HERTZ)]
    requests = [config(endpointing=Endpointing()), audio(recording.pcm), FINALIZE]
    requests += [audio(word), FINALIZE, FINALIZE, audio(recording.pcm), END]
    exchange = wire.exchange(requests)
    assert exchange.error is None
    finals = exchange.of("final")
    assert [final.cause for final in finals] == [2, 2, 2, 1]
    assert (finals[0].text, finals[2].text) == (recording.reference, "")
    assert finals[3].text == recording.reference
    alone = wire.recognise(word)
    assert finals[1].text == alone.text


def test_an_update_holds_from_its_place_on_and_is_acknowledged(wire: Wire) -> None:
    pcm, _ = conversation()
    update = pb.ConfigUpdate(endpointing=Endpointing(min_silence_ms=500), partial_interval_ms=5000)
    off = pb.ConfigUpdate(endpointing=Endpointing(detector="DETECTOR_OFF"))
    requests = [config(), *(audio(data) for data in every(3200, pcm))]
    requests += [Request(update=update), *(audio(data) for data in every(3200, pcm))]
    requests += [Request(update=off), *(audio(data) for data in every(3200, pcm))]
    exchange = wire.exchange(requests)
    assert exchange.error is None
    spoken = [recording.reference for recording in SPOKEN]
    first, *middle, rest = exchange.finals
    # The silence that ends the first part is judged by the new rule: it is long enough.
    assert first == " ".join(spoken)
    assert middle == spoken
    assert rest == " ".join(spoken)
    on, removed = exchange.of("updated")
    seconds = len(pcm) / 2 / HERTZ
    for acknowledged, sent_s in ((on, seconds), (removed, 2 * seconds)):
        assert sent_s - 0.56 <= acknowledged.time.ToNanoseconds() / 1e9 <= sent_s
    assert (on.endpointing.min_silence_ms, on.partial_interval_ms) == (500, 5000)
    assert on.endpointing.detector == Endpointing.DETECTOR_DECODER
    assert not removed.HasField("endpointing")
    assert removed.partial_interval_ms == 5000


def test_partials_keep_their_interval(wire: Wire) -> None:
    pcm, _ = conversation()
    exchange = wire.recognise(pcm, chunk_frames=2, partial_interval_ms=1500)
    times = [p.audio_processed.ToMilliseconds() for p in exchange.of("partial")]
    assert len(times) > 3
    assert all(b - a >= 1500 for a, b in itertools.pairwise(times))
    assert len(times) < len(wire.recognise(pcm, chunk_frames=2).of("partial")) / 2


@pytest.mark.parametrize(
    ("rules", "field"),
    [
        (Endpointing(min_silence_ms=5), "endpointing.min_silence_ms"),
        (Endpointing(max_utterance_ms=10), "endpointing.max_utterance_ms"),
        (Endpointing(no_speech_ms=-1), "endpointing.no_speech_ms"),
        (Endpointing(detector=99), "endpointing.detector"),
        (Endpointing(detector="DETECTOR_END_TOKEN"), "endpointing.detector"),
        (Endpointing(state=99), "endpointing.state"),
        (Endpointing(speech_threshold=0.5), "endpointing.speech_threshold"),
        (Endpointing(detector=2, speech_threshold=1), "endpointing.speech_threshold"),
        (Endpointing(detector=2, min_speech_ms=-1), "endpointing.min_speech_ms"),
    ],
)
def test_rules_that_cannot_be_are_refused_at_once_and_in_an_update(
    wire: Wire, rules: pb.EndpointingConfig, field: str
) -> None:
    at_once = failure(wire.exchange([config(endpointing=rules)]).error)
    assert (at_once.reason, at_once.fields) == ("INVALID_CONFIG", (f"config.{field}",))
    later = wire.exchange(
        [
            config(),
            audio(SPOKEN[0].pcm),
            FINALIZE,
            Request(update=pb.ConfigUpdate(endpointing=rules)),
        ]
    )
    assert failure(later.error).fields == (f"update.{field}",)
    assert later.finals == [SPOKEN[0].reference], "what was earned is delivered"


def test_a_long_utterance_is_cut_between_words(wire: Wire) -> None:
    recording = max(SPOKEN, key=lambda r: r.duration_s)
    rules = Endpointing(max_utterance_ms=1000, min_silence_ms=5000)
    exchange = wire.recognise(recording.pcm, endpointing=rules, chunk_frames=2)
    finals = exchange.of("final")
    assert len(finals) >= 2
    assert {final.cause for final in finals[:-1]} == {pb.FinalResult.CAUSE_MAX_UTTERANCE}
    whole = wire.recognise(recording.pcm, chunk_frames=2).text
    assert " ".join(final.text for final in finals) == whole


def test_trailers_say_where_the_time_went(running_server: SirenServer, wire: Wire) -> None:
    recording = SPOKEN[0]
    call = wire.stub.StreamingRecognize(iter([config(chunk_frames=7), audio(recording.pcm), END]))
    started, *_ = list(call)
    trailers = dict(call.trailing_metadata())
    assert trailers["siren-session-id"] == started.started.session_id
    assert int(trailers["siren-audio-ms"]) == int(recording.duration_s * 1000)
    assert int(trailers["siren-steps"]) >= recording.duration_s / 0.56
    assert float(trailers["siren-step-ms"]) > 0
    assert float(trailers["siren-queue-ms"]) >= 0
    assert started.started.session_id in running_server.log


def test_recognize_gives_the_same_utterances(wire: Wire) -> None:
    pcm, _ = conversation()
    rules = Endpointing(state="STATE_HARD")
    request = pb.RecognizeRequest(config=pb.StreamingConfig(endpointing=rules), audio=pcm)
    results = wire.stub.Recognize(request).results
    streamed = wire.recognise(pcm, [pcm], endpointing=rules)
    mine = [(r.text, r.start_time.ToNanoseconds(), r.end_time.ToNanoseconds()) for r in results]
    theirs = [
        (f.text, f.start_time.ToNanoseconds(), f.end_time.ToNanoseconds())
        for f in streamed.of("final")
    ]
    assert mine == theirs
    assert len(mine) == len(SPOKEN) + 1


def test_phrases_change_within_a_stream(wire: Wire) -> None:
    """What they do to the words is for test_biasing; here: where, and that it is told."""
    (call,) = [r for r in shipped_recordings() if r.name == "command-1"]
    plain = wire.recognise(call.pcm).text
    assert plain != call.reference
    dial = pb.ConfigUpdate(biasing=pb.BiasingConfig(phrases=[pb.Phrase(text="dial")]))
    none = pb.ConfigUpdate(biasing=pb.BiasingConfig())
    requests = [config(), audio(call.pcm), FINALIZE, Request(update=dial), audio(call.pcm)]
    requests += [FINALIZE, Request(update=none), audio(call.pcm), END]
    exchange = wire.exchange(requests)
    assert exchange.error is None
    assert exchange.finals == [plain, call.reference, plain]
    assert [updated.phrases for updated in exchange.of("updated")] == [1, 0]


def test_phrases_that_cannot_be_are_refused_in_an_update(wire: Wire) -> None:
    for text in ("", "\u4e16\u754c"):
        biasing = pb.BiasingConfig(phrases=[pb.Phrase(text="dial"), pb.Phrase(text=text)])
        update = Request(update=pb.ConfigUpdate(biasing=biasing))
        exchange = wire.exchange([config(), audio(SPOKEN[0].pcm), FINALIZE, update])
        refused = failure(exchange.error)
        assert (refused.reason, refused.fields) == (
            "INVALID_CONFIG",
            ("update.biasing.phrases[1].text",),
        )
        assert exchange.finals == [SPOKEN[0].reference]

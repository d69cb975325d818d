"""Promises 1, 2 and 4 on random streams of real speech, with controls at random places."""

from __future__ import annotations

import json
import random
import subprocess

import pytest
from siren.v1 import speech_pb2 as pb

from tests.support.audio import ROOT, shipped_recordings, spoken_digits
from tests.support.server import SIREN, SirenServer
from tests.support.wire import FINALIZE, RESET, Exchange, Wire, audio, config

pytestmark = pytest.mark.e2e

RECORDINGS = shipped_recordings()


def random_stream(seed: int) -> tuple[list[pb.StreamingRecognizeRequest], list[int]]:
    """Return a stream's requests, and for each final that is due the seq it must carry."""
    draw = random.Random(seed)
    hertz = draw.choice([8000, 16000])
    speech = [r for r in RECORDINGS if r.sample_rate_hertz == hertz]
    options = {"words": draw.random() < 0.5, "partial_words": draw.random() < 0.5}
    chunk_frames = draw.choice([2, 7, 14])
    requests = [config(sample_rate_hertz=hertz, chunk_frames=chunk_frames, **options)]
    due: list[int] = []
    seq = 0
    for _ in range(draw.randint(1, 3)):
        pcm = draw.choice(speech).pcm if draw.random() < 0.8 else bytes(draw.randrange(9000) * 2)
        start = 0
        while start < len(pcm):
            size = int(10 ** draw.uniform(0.5, 4.2))
            seq += draw.randint(1, 3)
            is_numbered = draw.random() < 0.9
            requests.append(audio(pcm[start : start + size], seq if is_numbered else 0))
            if not is_numbered:
                seq = max((r.audio.seq for r in requests), default=0)
            start += size
        action = draw.random()
        if action < 0.5:
            requests.append(FINALIZE)
            due.append(seq)
        elif action < 0.65:
            requests.append(RESET)
    due.append(seq)
    return requests, due


def assert_promises(exchange: Exchange, due: list[int]) -> None:
    assert exchange.error is None
    assert exchange.responses[0].WhichOneof("response") == "started"
    stable = ""
    last_seq = 0
    seqs = []
    for response in exchange.responses[1:]:
        kind = response.WhichOneof("response")
        if kind == "partial":
            partial = response.partial
            assert 0 <= partial.stable_len <= len(partial.text)
            assert partial.stable_len >= len(stable) or not partial.text.startswith(stable)
            assert partial.text.startswith(stable), "the stable prefix changed"
            stable = partial.text[: partial.stable_len]
            assert partial.seq >= last_seq
            last_seq = partial.seq
        elif kind == "final":
            assert response.final.text.startswith(stable), "the final changed the stable prefix"
            assert response.final.seq >= last_seq
            last_seq = response.final.seq
            seqs.append(response.final.seq)
            stable = ""
        else:
            assert kind == "event"
    assert seqs == due, "one final for each utterance, with the last seq of its audio"


@pytest.mark.parametrize("seed", range(12))
def test_promises_hold_on_random_streams(wire: Wire, seed: int) -> None:
    requests, due = random_stream(seed)
    has_reset = RESET in requests
    exchange = wire.exchange(requests)
    if has_reset:
        # A reset begins a new utterance without a final, so the prefix may start over.
        assert exchange.error is None
        assert [final.seq for final in exchange.of("final")] == due
    else:
        assert_promises(exchange, due)
    assert_words(exchange, requests[0].config)


def assert_words(exchange: Exchange, asked: pb.StreamingConfig) -> None:
    """Words are those of the text where they were asked for, and in the order of the stream."""
    at = 0
    for response in exchange.responses:
        kind = response.WhichOneof("response")
        if kind not in ("partial", "final"):
            continue
        result = getattr(response, kind)
        if not (asked.partial_words or (asked.words and kind == "final")):
            assert not result.words
            continue
        assert " ".join(word.text for word in result.words) == result.text
        end = result.end_time if kind == "final" else result.audio_processed
        times = [at]
        for word in result.words:
            times += [word.start_time.ToNanoseconds(), word.end_time.ToNanoseconds()]
        times.append(end.ToNanoseconds())
        assert times == sorted(times)
        if kind == "final":
            at = times[-2]


def test_partials_come_as_the_audio_does_and_settle(wire: Wire) -> None:
    recording = max(spoken_digits(), key=lambda r: len(r.reference))
    exchange = wire.recognise(recording.pcm, sample_rate_hertz=recording.sample_rate_hertz)
    partials = exchange.of("partial")
    assert len(partials) >= 3
    assert any(partial.stable_len == len(partial.text) for partial in partials), "none settled"
    times = [partial.audio_processed.ToNanoseconds() for partial in partials]
    assert times == sorted(times)
    assert times[-1] <= recording.duration_s * 1e9


def test_the_demo_moves_and_settles_at_the_pace_of_speech(running_server: SirenServer) -> None:
    """The client's own pace leaves time for previews: words appear before their chunk is whole."""
    demo = ROOT / "siren_grpc" / "assets" / "demo.wav"
    command = [SIREN, "transcribe", "--json", "--server", running_server.target, demo]
    runs = []
    # A machine busy with other things may have no time for a preview; not three times over.
    while len(runs) < 3 and not any(runs):
        output = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        lines = [json.loads(line) for line in output.stdout.splitlines()]
        (final,) = [line for line in lines if line["type"] == "final"]
        assert final["text"] == demo.with_suffix(".txt").read_text().strip()
        runs.append(has_moved(lines))
    assert any(runs)


def has_moved(lines: list[dict]) -> bool:
    """Tell whether a partial showed text that was not stable yet."""
    moving = [
        line
        for line in lines
        if line["type"] == "partial" and line["stable_len"] < len(line["text"])
    ]
    return bool(moving)


def test_events_frame_the_speech(wire: Wire) -> None:
    recording = max(spoken_digits(), key=lambda r: len(r.reference))
    exchange = wire.recognise(recording.pcm, sample_rate_hertz=recording.sample_rate_hertz)
    started, ended = exchange.of("event")
    assert started.type == pb.SpeechEvent.TYPE_SPEECH_STARTED
    assert ended.type == pb.SpeechEvent.TYPE_SPEECH_ENDED
    assert 0 <= started.time.ToNanoseconds() <= ended.time.ToNanoseconds()
    assert ended.time.ToNanoseconds() <= recording.duration_s * 1e9

"""Word times and confidence of real speech through a real server."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cache
from statistics import mean, median

import numpy as np
import pytest
from siren.v1 import speech_pb2 as pb

from tests.support.audio import Recording, shipped_recordings, spoken_digits
from tests.support.wire import END, FINALIZE, RESET, Exchange, Wire, audio, config, every

pytestmark = pytest.mark.e2e

HERTZ = 16000
FRAME_S = 0.08
DECODERS = [pb.DECODER_RNNT, pb.DECODER_CTC]


@dataclass(frozen=True)
class Placed:
    """A word and where it is in the stream."""

    text: str
    start_s: float
    end_s: float
    confidence: float


def placed(words: Iterable[pb.WordInfo]) -> list[Placed]:
    return [
        Placed(word.text, seconds(word.start_time), seconds(word.end_time), word.confidence)
        for word in words
    ]


def seconds(duration: object) -> float:
    return duration.ToNanoseconds() / 1e9  # type: ignore[attr-defined]


def speech() -> list[Recording]:
    return [r for r in shipped_recordings() if r.sample_rate_hertz == HERTZ and r.reference]


@cache
def alone(wire: Wire, name: str, decoder: int, chunk_frames: int) -> list[Placed]:
    """Return the words of a recording by itself: the model's alignment of it.

    That it is NeMo's own, offline, tests/parity/test_token_timing.py proves.
    """
    (recording,) = [r for r in speech() if r.name == name]
    exchange = wire.recognise(
        recording.pcm,
        [recording.pcm],
        sample_rate_hertz=HERTZ,
        decoder=decoder,
        chunk_frames=chunk_frames,
        words=True,
    )
    (final,) = exchange.of("final")
    return placed(final.words)


def silence(n_samples: int, seed: int) -> bytes:
    """Return the hiss of a microphone nobody speaks into."""
    hiss = np.random.default_rng(seed).normal(0, 3, n_samples)
    return hiss.astype("<i2").tobytes()


def matched(heard: Sequence[Placed], known: Sequence[Placed]) -> list[tuple[Placed, Placed]]:
    """Pair the words that are the same in both, in order."""
    matcher = SequenceMatcher(None, [w.text for w in heard], [w.text for w in known], False)
    return [
        (heard[block.a + i], known[block.b + i])
        for block in matcher.get_matching_blocks()
        for i in range(block.size)
    ]


def assert_ordered(exchange: Exchange) -> None:
    """Check start <= end <= the audio received, and that words follow one another."""
    last = 0.0
    for response in exchange.responses:
        kind = response.WhichOneof("response")
        if kind not in ("partial", "final"):
            continue
        result = getattr(response, kind)
        words = placed(result.words)
        end = result.audio_processed if kind == "partial" else result.end_time
        at = last
        for word in words:
            assert at <= word.start_s <= word.end_s <= seconds(end) + 1e-9
            at = word.end_s
        if kind == "final":
            assert " ".join(word.text for word in words) == result.text
            assert all(word.is_stable for word in result.words)
            assert result.HasField("confidence") == bool(words)
            if words:
                assert result.confidence == pytest.approx(
                    mean(w.confidence for w in words), abs=1e-3
                )
            last = at


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("chunk_frames", [2, 7])
def test_words_are_where_they_were_put(wire: Wire, decoder: int, chunk_frames: int) -> None:
    """Speech at known places, among pauses, utterances that end and ones thrown away."""
    draw = random.Random(chunk_frames)
    requests = [config(decoder=decoder, chunk_frames=chunk_frames, partial_words=True)]
    known: list[Placed] = []
    at = n_kept = 0

    def send(pcm: bytes) -> None:
        nonlocal at
        requests.extend(audio(piece) for piece in every(draw.choice([640, 3200, 4444]), pcm))
        at += len(pcm) // 2

    for i in range(12):
        send(silence(draw.randint(4_000, 30_000), seed=i))
        recording = draw.choice(speech())
        offset = at / HERTZ
        words = alone(wire, recording.name, decoder, chunk_frames)
        send(recording.pcm)
        known += [Placed(w.text, w.start_s + offset, w.end_s + offset, w.confidence) for w in words]
        send(silence(draw.randint(4_000, 12_000), seed=100 + i))
        if i % 3 == 1:
            requests.append(FINALIZE)
            n_kept = len(known)
        elif i == 6:
            requests.append(RESET)
            del known[n_kept:]
    requests.append(END)
    exchange = wire.exchange(requests)
    assert exchange.error is None
    assert_ordered(exchange)
    finals = exchange.of("final")
    assert len(finals) == 5
    heard = [word for final in finals for word in placed(final.words)]
    pairs = matched(heard, known)
    assert len(pairs) >= 0.8 * len(known)
    assert at / HERTZ > 30
    print(f"{len(pairs)} of {len(known)} words heard as alone")
    starts = [abs(one.start_s - other.start_s) for one, other in pairs]
    ends = [abs(one.end_s - other.end_s) for one, other in pairs]
    print(f"starts off by {median(starts):.3f} s, ends by {median(ends):.3f} s (medians)")
    assert median(starts) <= FRAME_S
    assert median(ends) <= FRAME_S
    assert np.quantile(starts, 0.9) <= 3 * FRAME_S


@pytest.mark.parametrize(
    "state", [pb.EndpointingConfig.STATE_SOFT, pb.EndpointingConfig.STATE_HARD]
)
@pytest.mark.parametrize("decoder", DECODERS)
def test_words_are_where_they_were_put_behind_endpoints_too(
    wire: Wire, decoder: int, state: int
) -> None:
    """A soft endpoint goes on counting frames, a hard one hears some audio again."""
    pieces: list[bytes] = []
    known: list[Placed] = []
    at = 0
    for i in range(8):
        recording = speech()[i % len(speech())]
        pause = silence(24_000 + 999 * i, seed=i)
        offset = (at + len(pause) // 2) / HERTZ
        known += [
            Placed(w.text, w.start_s + offset, w.end_s + offset, w.confidence)
            for w in alone(wire, recording.name, decoder, 7)
        ]
        pieces += [pause, recording.pcm]
        at += (len(pause) + len(recording.pcm)) // 2
    pcm = b"".join([*pieces, silence(20_000, seed=99)])
    rules = pb.EndpointingConfig(min_silence_ms=800, state=state)
    exchange = wire.recognise(pcm, decoder=decoder, words=True, endpointing=rules)
    assert exchange.error is None
    assert_ordered(exchange)
    finals = exchange.of("final")
    assert len(finals) >= 8
    for final in finals:
        for word in final.words:
            assert seconds(final.start_time) <= seconds(word.start_time)
    pairs = matched([word for final in finals for word in placed(final.words)], known)
    # The little model's RNNT misses words of what is one long stream to it, endpoints or not.
    assert len(pairs) >= 0.5 * len(known)
    assert median(abs(one.start_s - other.start_s) for one, other in pairs) <= FRAME_S


def test_words_of_partials_are_those_of_their_text_and_settle(wire: Wire) -> None:
    recording = max(spoken_digits(), key=lambda r: len(r.reference))
    hertz = recording.sample_rate_hertz
    exchange = wire.recognise(recording.pcm, sample_rate_hertz=hertz, partial_words=True)
    assert_ordered(exchange)
    (final,) = exchange.of("final")
    partials = exchange.of("partial")
    assert len(partials) >= 3
    for partial in partials:
        assert " ".join(word.text for word in partial.words) == partial.text
        stable = [word for word in partial.words if word.is_stable]
        assert partial.text[: partial.stable_len].startswith(" ".join(w.text for w in stable))
        for word, settled in zip(stable[:-1], final.words, strict=False):
            assert (word.text, word.start_time) == (settled.text, settled.start_time)
    assert any(word.is_stable for word in partials[-1].words)
    assert len(final.words) == len(recording.reference.split())


def test_only_those_who_ask_get_words(wire: Wire) -> None:
    recording = spoken_digits()[0]
    hertz = recording.sample_rate_hertz
    plain = wire.recognise(recording.pcm, sample_rate_hertz=hertz)
    finals_only = wire.recognise(recording.pcm, sample_rate_hertz=hertz, words=True)
    assert plain.text == finals_only.text
    assert not any(final.words or final.HasField("confidence") for final in plain.of("final"))
    assert all(final.words for final in finals_only.of("final"))
    for exchange in (plain, finals_only):
        assert not any(partial.words for partial in exchange.of("partial"))


def test_cutting_does_not_matter_to_words_either(wire: Wire) -> None:
    recording = max(spoken_digits(), key=lambda r: len(r.reference))
    draw = random.Random(3)
    finals = []
    for pieces in ([recording.pcm], list(every(999, recording.pcm)), None):
        cut = pieces or list(every(draw.randrange(3, 9999), recording.pcm))
        exchange = wire.recognise(
            recording.pcm, cut, sample_rate_hertz=recording.sample_rate_hertz, words=True
        )
        finals.append(placed(exchange.of("final")[0].words))
    for final in finals[1:]:
        for word, same in zip(final, finals[0], strict=True):
            assert (word.text, word.start_s, word.end_s) == (same.text, same.start_s, same.end_s)
            assert word.confidence == pytest.approx(same.confidence, abs=2e-4)


def test_a_recording_has_words_too(wire: Wire) -> None:
    recording = spoken_digits()[0]
    options = pb.StreamingConfig(sample_rate_hertz=recording.sample_rate_hertz, words=True)
    response = wire.stub.Recognize(pb.RecognizeRequest(config=options, audio=recording.pcm))
    (final,) = response.results
    assert " ".join(word.text for word in final.words) == final.text == recording.reference
    assert 0 < final.confidence <= 1


@pytest.mark.parametrize("decoder", DECODERS)
def test_right_words_are_more_certain_than_wrong_ones(wire: Wire, decoder: int) -> None:
    """Digits under noise, so that some are heard wrong."""
    rng = np.random.default_rng(5)
    right: list[float] = []
    wrong: list[float] = []
    for recording in spoken_digits():
        samples = recording.samples.astype(float)
        for snr in (6, 0, -4, -8):
            power = np.square(samples).mean() / 10 ** (snr / 10)
            noisy = samples + rng.normal(0, np.sqrt(power), len(samples))
            pcm = (noisy / max(1.0, np.abs(noisy).max() / 32767)).astype("<i2").tobytes()
            exchange = wire.recognise(
                pcm,
                [pcm],
                sample_rate_hertz=recording.sample_rate_hertz,
                decoder=decoder,
                words=True,
            )
            (final,) = exchange.of("final")
            words = placed(final.words)
            known = [Placed(text, 0, 0, 0) for text in recording.reference.split()]
            good = {id(heard) for heard, _ in matched(words, known)}
            for word in words:
                (right if id(word) in good else wrong).append(word.confidence)
    assert len(right) > 20
    assert len(wrong) > 5
    assert mean(right) > mean(wrong) + 0.1
    wins = [1.0 if a > b else 0.5 if a == b else 0.0 for a in right for b in wrong]
    print(
        f"AUC {mean(wins):.3f}: mean of right words {mean(right):.3f}, of wrong {mean(wrong):.3f}"
    )
    assert mean(wins) > 0.65


@pytest.mark.long
@pytest.mark.parametrize("decoder", DECODERS)
def test_nothing_drifts_in_an_hour(wire: Wire, decoder: int) -> None:
    """An hour in one stream, as fast as it is taken: its last words are where they were put."""
    draw = random.Random(1)
    known: list[Placed] = []
    at = 0
    pieces: list[bytes] = []
    while at < 3600 * HERTZ:
        recording = draw.choice(speech())
        offset = at / HERTZ
        known += [
            Placed(w.text, w.start_s + offset, w.end_s + offset, w.confidence)
            for w in alone(wire, recording.name, decoder, 7)
        ]
        gap = silence(draw.randint(8_000, 100_000), seed=at)
        pieces += [recording.pcm, gap]
        at += (len(recording.pcm) + len(gap)) // 2
    pcm = b"".join(pieces)

    def requests() -> Iterable[pb.StreamingRecognizeRequest]:
        yield config(decoder=decoder, words=True)
        for i, piece in enumerate(every(64_000, pcm)):
            yield audio(piece)
            if i % 700 == 699:
                yield FINALIZE  # a few utterances, of 23 minutes each
        yield END

    exchange = wire.exchange(requests(), timeout_s=1200)
    assert exchange.error is None
    assert_ordered(exchange)
    heard = [word for final in exchange.of("final") for word in placed(final.words)]
    for since in (0, 3300):
        some = matched(
            [w for w in heard if since <= w.start_s < since + 300],
            [w for w in known if since <= w.start_s < since + 300],
        )
        assert len(some) > 100
        errors = [one.start_s - other.start_s for one, other in some]
        print(f"from {since} s: median {median(errors):+.3f} s of {len(some)} words")
        assert abs(median(errors)) <= FRAME_S
        assert median(map(abs, errors)) <= FRAME_S


def test_a_masked_word_is_not_told_by_its_times(wire: Wire) -> None:
    recording = max(spoken_digits(), key=lambda r: len(r.reference))
    options = pb.TextOptions(masked_words=["eight", "five"])
    exchange = wire.recognise(
        recording.pcm,
        sample_rate_hertz=recording.sample_rate_hertz,
        partial_words=True,
        text=options,
    )
    assert_ordered(exchange)
    (final,) = exchange.of("final")
    assert "e****" in [word.text for word in final.words]
    for response in exchange.responses:
        result = getattr(response, response.WhichOneof("response"))
        if response.WhichOneof("response") in ("partial", "final"):
            assert not {"eight", "five"} & {word.text for word in result.words}
            assert " ".join(word.text for word in result.words) == result.text


@pytest.mark.parametrize("decoder", DECODERS)
def test_preferred_phrases_have_words_too(wire: Wire, decoder: int) -> None:
    recording = max(spoken_digits(), key=lambda r: len(r.reference))
    phrases = [pb.Phrase(text=text, boost=4) for text in ("siren", "eight five", "oh")]
    exchange = wire.recognise(
        recording.pcm,
        sample_rate_hertz=recording.sample_rate_hertz,
        decoder=decoder,
        partial_words=True,
        biasing=pb.BiasingConfig(phrases=phrases),
    )
    assert_ordered(exchange)
    (final,) = exchange.of("final")
    assert len(final.words) > 3
    assert all(0 < word.confidence <= 1 for word in final.words)

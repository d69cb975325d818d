"""Real speech through a real server: the words, however they come."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
import pytest
from siren.v1 import speech_pb2 as pb

from tests.support.audio import Recording, shipped_recordings, spoken_digits
from tests.support.wire import END, FINALIZE, RESET, Wire, audio, config, cut, every

pytestmark = pytest.mark.e2e

RECORDINGS = shipped_recordings()
SPOKEN = spoken_digits()
LOOK_AHEADS = (2, 7, 14)


def by_name(recording: Recording) -> str:
    return recording.name


@cache
def shortest() -> Recording:
    return min(SPOKEN, key=lambda recording: recording.duration_s)


@pytest.mark.parametrize("recording", RECORDINGS, ids=by_name)
def test_shipped_recordings_are_recognised_word_for_word(wire: Wire, recording: Recording) -> None:
    # Words beyond digits are RNN-T's; digits are heard right by the default, CTC, and by RNN-T.
    is_command = recording.name.startswith("command")
    exchange = wire.recognise(
        recording.pcm,
        sample_rate_hertz=recording.sample_rate_hertz,
        decoder=pb.DECODER_RNNT if is_command else pb.DECODER_UNSPECIFIED,
    )
    assert exchange.text == recording.reference


def test_an_empty_config_means_16_khz_linear16_and_the_default_model(wire: Wire) -> None:
    recording = next(r for r in SPOKEN if r.sample_rate_hertz == 16000)
    exchange = wire.recognise(recording.pcm)
    assert exchange.text == recording.reference
    (started,) = exchange.of("started")
    assert started.model == "siren-mini-en"
    assert started.sample_rate_hertz == 16000
    assert started.encoding == pb.AUDIO_ENCODING_LINEAR16
    assert (started.chunk_frames, started.latency_ms) == (7, 560)
    assert started.decoder == pb.DECODER_CTC
    assert started.session_id


@pytest.mark.parametrize("decoder", [pb.DECODER_RNNT, pb.DECODER_CTC])
@pytest.mark.parametrize("chunk_frames", LOOK_AHEADS)
def test_every_look_ahead_and_decoder_streams(wire: Wire, chunk_frames: int, decoder: int) -> None:
    recording = max(SPOKEN, key=lambda r: len(r.reference.split()))
    exchange = wire.recognise(
        recording.pcm,
        sample_rate_hertz=recording.sample_rate_hertz,
        chunk_frames=chunk_frames,
        decoder=decoder,
    )
    (started,) = exchange.of("started")
    assert (started.chunk_frames, started.decoder) == (chunk_frames, decoder)
    assert exchange.text == recording.reference


class TestCuttingDoesNotMatter:
    """Promise 3."""

    @pytest.mark.parametrize("recording", SPOKEN[:3], ids=by_name)
    def test_any_cut_gives_the_same_final(self, wire: Wire, recording: Recording) -> None:
        hertz = recording.sample_rate_hertz
        whole = wire.recognise(recording.pcm, [recording.pcm], sample_rate_hertz=hertz).text
        draw = random.Random(7)
        for _ in range(4):
            sizes = [int(10 ** draw.uniform(0, 4.5)) for _ in range(5000)]
            messages = cut(recording.pcm, sizes)
            assert wire.recognise(recording.pcm, messages, sample_rate_hertz=hertz).text == whole

    def test_one_byte_a_message(self, wire: Wire) -> None:
        recording = shortest()
        hertz = recording.sample_rate_hertz
        whole = wire.recognise(recording.pcm, sample_rate_hertz=hertz).text
        messages = every(1, recording.pcm)
        assert wire.recognise(recording.pcm, messages, sample_rate_hertz=hertz).text == whole

    def test_a_megabyte_a_message(self, wire: Wire) -> None:
        recording = next(r for r in SPOKEN if r.sample_rate_hertz == 16000)
        long = recording.pcm + bytes((1 << 20) - len(recording.pcm)) + recording.pcm
        assert len(long) > 1 << 20
        in_small = wire.recognise(long).text
        in_large = wire.recognise(long, every(1 << 20, long)).text
        assert in_large == in_small
        assert in_large.startswith(recording.reference)

    def test_previews_do_not_change_finals(self, wire: Wire) -> None:
        # Whole in one message there is nothing to preview; in 20 ms messages there is a lot.
        recording = max(SPOKEN, key=lambda r: r.duration_s)
        hertz = recording.sample_rate_hertz
        messages = list(every(hertz // 50 * 2, recording.pcm))
        previewed = wire.recognise(recording.pcm, messages, sample_rate_hertz=hertz)
        at_once = wire.recognise(recording.pcm, [recording.pcm], sample_rate_hertz=hertz)
        assert previewed.text == at_once.text

    def test_ten_streams_at_once_give_what_each_gives_alone(self, wire: Wire) -> None:
        jobs = [(SPOKEN[i % len(SPOKEN)], LOOK_AHEADS[i % 3]) for i in range(10)]

        def recognise(job: tuple[Recording, int]) -> str:
            recording, chunk_frames = job
            return wire.recognise(
                recording.pcm,
                sample_rate_hertz=recording.sample_rate_hertz,
                chunk_frames=chunk_frames,
            ).text

        alone = [recognise(job) for job in jobs]
        with ThreadPoolExecutor(10) as pool:
            together = list(pool.map(recognise, jobs))
        assert together == alone


class TestEncodings:
    def test_float32_gives_the_linear16_transcript(self, wire: Wire) -> None:
        recording = shortest()
        floats = (recording.samples.astype(np.float32) / 32768).astype("<f4").tobytes()
        linear = wire.recognise(recording.pcm, sample_rate_hertz=recording.sample_rate_hertz)
        exchange = wire.recognise(
            floats,
            every(997, floats),
            sample_rate_hertz=recording.sample_rate_hertz,
            encoding=pb.AUDIO_ENCODING_FLOAT32,
        )
        assert exchange.text == linear.text

    @pytest.mark.parametrize("encoding", ["MULAW", "ALAW"])
    def test_telephone_codes_are_recognised(self, wire: Wire, encoding: str) -> None:
        recording = next(r for r in SPOKEN if r.sample_rate_hertz == 8000)
        coded = companded(recording.samples, encoding)
        exchange = wire.recognise(
            coded,
            sample_rate_hertz=8000,
            encoding=pb.AudioEncoding.Value(f"AUDIO_ENCODING_{encoding}"),
        )
        assert exchange.text == recording.reference

    @pytest.mark.parametrize("hertz", [8000, 22050, 44100, 48000])
    def test_other_rates_are_resampled(self, wire: Wire, hertz: int) -> None:
        import soxr

        recording = next(r for r in SPOKEN if r.sample_rate_hertz == 16000)
        other = soxr.resample(recording.samples, recording.sample_rate_hertz, hertz)
        exchange = wire.recognise(other.astype("<i2").tobytes(), sample_rate_hertz=hertz)
        if hertz > 16000:  # at least the model's bandwidth: the same words
            assert exchange.text == recording.reference
        else:
            assert exchange.text


def companded(samples: np.ndarray, encoding: str) -> bytes:
    """Encode by searching the nearest value the server's decoder has for each code."""
    from siren_grpc.audio.decode import AudioDecoder, Encoding

    table = AudioDecoder(Encoding(encoding)).push(bytes(range(256)))
    order = np.argsort(table, kind="stable")
    middles = (table[order][1:] + table[order][:-1]) / 2
    codes = order[np.searchsorted(middles, samples.astype(np.float32) / 32768)]
    return codes.astype(np.uint8).tobytes()


class TestUtterances:
    """Promise 4: one final for each utterance, nothing lost."""

    @pytest.mark.parametrize(
        "audio_bytes",
        [b"", bytes(2), bytes(320), bytes(32000 * 2)],
        ids=["none", "a sample", "10 ms", "2 s"],
    )
    def test_a_silent_stream_gets_one_empty_final(self, wire: Wire, audio_bytes: bytes) -> None:
        exchange = wire.recognise(audio_bytes)
        assert exchange.finals == [""]
        assert exchange.of("event") == []

    def test_end_means_the_same_as_half_close(self, wire: Wire) -> None:
        recording = shortest()
        first = config(sample_rate_hertz=recording.sample_rate_hertz)
        ended = wire.exchange([first, audio(recording.pcm), END])
        half_closed = wire.exchange([first, audio(recording.pcm)])
        assert ended.error is None
        assert ended.finals == half_closed.finals

    def test_finalize_ends_one_utterance_and_starts_the_next(self, wire: Wire) -> None:
        recording = shortest()
        hertz = recording.sample_rate_hertz
        alone = wire.recognise(recording.pcm, sample_rate_hertz=hertz).text
        requests = [
            config(sample_rate_hertz=hertz),
            audio(recording.pcm, 1),
            FINALIZE,
            audio(recording.pcm, 2),
            FINALIZE,
            FINALIZE,
            audio(recording.pcm, 3),
        ]
        exchange = wire.exchange(requests)
        assert exchange.error is None
        # Each utterance starts afresh, so each is what it is alone.
        assert exchange.finals == [alone, alone, "", alone]
        finals = exchange.of("final")
        assert [final.seq for final in finals] == [1, 2, 2, 3]
        ends = [final.end_time.ToTimedelta().total_seconds() for final in finals]
        starts = [final.start_time.ToTimedelta().total_seconds() for final in finals]
        assert starts == [0.0, *ends[:-1]]
        assert ends[-1] == pytest.approx(3 * recording.duration_s, abs=1e-3)

    def test_reset_throws_the_utterance_away(self, wire: Wire) -> None:
        recording, other = sorted(SPOKEN, key=lambda r: r.duration_s)[:2]
        if recording.sample_rate_hertz != other.sample_rate_hertz:
            other = recording
        hertz = recording.sample_rate_hertz
        alone = wire.recognise(recording.pcm, sample_rate_hertz=hertz).text
        half = other.pcm[: len(other.pcm) // 4 * 2]
        exchange = wire.exchange(
            [config(sample_rate_hertz=hertz), audio(half), RESET, audio(recording.pcm)]
        )
        assert exchange.finals == [alone]

    def test_recognize_gives_the_streams_final(self, wire: Wire) -> None:
        for recording in SPOKEN[:3]:
            request = pb.RecognizeRequest(
                config=pb.StreamingConfig(sample_rate_hertz=recording.sample_rate_hertz),
                audio=recording.pcm,
            )
            response = wire.stub.Recognize(request, timeout=60)
            streamed = wire.recognise(recording.pcm, sample_rate_hertz=recording.sample_rate_hertz)
            assert [final.text for final in response.results] == streamed.finals
            assert response.started.model == "siren-mini-en"

"""Every encoding, whole files and cut ones, through the real server: the same words."""

from __future__ import annotations

import random
import struct
import subprocess
from pathlib import Path

import grpc
import numpy as np
import pytest
from siren.v1 import speech_pb2 as pb

from tests.support.audio import Recording, spoken_digits
from tests.support.encode import encode, wav
from tests.support.server import SIREN, SirenServer
from tests.support.wire import FINALIZE, Exchange, Wire, audio, config, cut, every, failure

pytestmark = pytest.mark.e2e

SPOKEN = spoken_digits()
MOST_WORD_ERRORS = 0.05
"""Of a lossy encoding, against the LINEAR16 transcript, over all recordings of digits."""
RECORDING = next(r for r in SPOKEN if r.name == "digits-male-16k")
LOSSLESS = {"WAV": "WAV", "FLAC": "FLAC", "OGG_FLAC": "FLAC"}
LOSSY = {
    "OGG_OPUS": {"b": "24k", "application": "voip"},
    "WEBM_OPUS": {"b": "32k"},
    "MP3": {"b": "32k"},
}


def file_of(kind: str, recording: Recording, **options: str) -> bytes:
    if kind == "WAV":
        return wav(recording.pcm, hertz=recording.sample_rate_hertz)
    return encode(kind, recording.samples, recording.sample_rate_hertz, **options)


def number(name: str) -> pb.AudioEncoding.ValueType:
    return pb.AudioEncoding.Value(f"AUDIO_ENCODING_{name}")


def linear16(wire: Wire, recording: Recording) -> Exchange:
    return wire.recognise(recording.pcm, sample_rate_hertz=recording.sample_rate_hertz)


def word_errors(said: str, reference: str) -> int:
    """Levenshtein's distance in words."""
    words, right = said.split(), reference.split()
    row = list(range(len(right) + 1))
    for i, word in enumerate(words, 1):
        above, row[0] = row[:], i
        for j, other in enumerate(right, 1):
            row[j] = min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (word != other))
    return row[-1]


@pytest.mark.parametrize("kind", LOSSLESS)
@pytest.mark.parametrize("recording", SPOKEN, ids=lambda r: r.name)
def test_lossless_encodings_give_the_linear16_final(
    wire: Wire, kind: str, recording: Recording
) -> None:
    expected = linear16(wire, recording)
    draw = random.Random(kind)
    data = file_of(kind, recording)
    messages = cut(data, [int(10 ** draw.uniform(0, 4)) for _ in range(5000)])
    for declared in (LOSSLESS[kind], "AUTO"):
        exchange = wire.recognise(data, messages, encoding=number(declared))
        (final,), (same,) = exchange.of("final"), expected.of("final")
        assert (final.text, final.end_time) == (same.text, same.end_time)
        messages = every(1000, data)


@pytest.mark.parametrize("kind", LOSSY)
def test_lossy_encodings_are_recognised_within_the_bound(wire: Wire, kind: str) -> None:
    n_errors = n_words = 0
    for recording in SPOKEN:
        expected = linear16(wire, recording)
        data = file_of(kind, recording, **LOSSY[kind])
        exchange = wire.recognise(data, every(700, data), encoding=number(kind))
        n_errors += word_errors(exchange.text, expected.text)
        n_words += len(expected.text.split())
        (final,), (same,) = exchange.of("final"), expected.of("final")
        lateness = final.end_time.ToMilliseconds() - same.end_time.ToMilliseconds()
        assert abs(lateness) <= 1, "the run-in or the padding was taken for audio"
        assert final.seq == -(-len(data) // 700)
    assert n_words > 20
    assert n_errors <= MOST_WORD_ERRORS * n_words


@pytest.mark.parametrize("kind", ["OGG_OPUS", "WEBM_OPUS", "MP3", "FLAC"])
def test_compressed_audio_cut_anywhere_gives_the_same_final(wire: Wire, kind: str) -> None:
    data = file_of(kind, RECORDING)
    whole = wire.recognise(data, [data], encoding=number("AUTO")).text
    assert whole
    draw = random.Random(3)
    sizes = [int(10 ** draw.uniform(0, 3.5)) for _ in range(9000)]
    assert wire.recognise(data, cut(data, sizes), encoding=number(kind)).text == whole


def test_a_live_recording_of_a_browser(wire: Wire) -> None:
    """No sizes, no duration, small clusters; and what is said comes while it is recorded."""
    data = encode("WEBM_OPUS", RECORDING.samples, 16000, muxer_live="1")
    n_read = 0

    def requests():
        nonlocal n_read
        yield config(encoding=number("WEBM_OPUS"), sample_rate_hertz=48000)
        for seq, message in enumerate(every(400, data), 1):
            n_read = seq
            yield audio(message, seq)

    seen: list[tuple[int, int]] = []
    exchange = wire.exchange(
        requests(), lambda r: seen.append((r.partial.seq, n_read)) if r.partial.text else None
    )
    assert exchange.text == linear16(wire, RECORDING).text
    seqs = [seq for seq, _ in seen]
    assert seqs == sorted(seqs)
    assert 0 < seqs[0] < seqs[-1]


def test_started_says_what_is_known(wire: Wire) -> None:
    (started,) = wire.recognise(file_of("FLAC", RECORDING), encoding=number("AUTO")).of("started")
    assert started.encoding == number("AUTO")
    assert (started.sample_rate_hertz, started.channel_count) == (0, 0)
    assert started.channel_mode == pb.CHANNEL_MODE_MIX


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG_OPUS", "WEBM_OPUS", "MP3"])
def test_recognize_takes_files_as_they_are(wire: Wire, kind: str) -> None:
    data = file_of(kind, RECORDING)
    request = pb.RecognizeRequest(config=pb.StreamingConfig(encoding=number("AUTO")), audio=data)
    response = wire.stub.Recognize(request, timeout=60)
    streamed = wire.recognise(data, encoding=number("AUTO"))
    assert [final.text for final in response.results] == streamed.finals


def test_utterances_of_a_compressed_stream(wire: Wire) -> None:
    data = file_of("FLAC", RECORDING)
    half = len(data) // 2
    exchange = wire.exchange(
        [
            config(encoding=number("FLAC")),
            audio(data[:half], 1),
            FINALIZE,
            audio(data[half:], 2),
        ]
    )
    assert exchange.error is None
    first, second = exchange.of("final")
    assert (first.seq, second.seq) == (0, 2), "message 1 ends within a frame"
    assert first.end_time == second.start_time
    assert second.end_time.ToMilliseconds() == pytest.approx(1000 * RECORDING.duration_s, abs=1)


FLAC = file_of("FLAC", RECORDING)
ABSURD = wav(bytes(100))[:24] + struct.pack("<I", 0) + wav(bytes(100))[28:]


@pytest.mark.parametrize(
    ("encoding", "data", "says", "has_final"),
    [
        pytest.param("FLAC", file_of("MP3", RECORDING), "begins with MP3", False, id="MP3 as FLAC"),
        pytest.param("WAV", b"Dear server, ", "begins with text ('Dear", False, id="text as WAV"),
        pytest.param("WAV", ABSURD, "of 0 Hz", False, id="absurd WAV"),
        pytest.param("AUTO", wav(bytes(64), tag=0x11, bits=4), "IMA ADPCM", False, id="ADPCM"),
        pytest.param("AUTO", FLAC[: len(FLAC) * 3 // 4], "truncated", True, id="truncated FLAC"),
        pytest.param(
            "FLAC",
            FLAC[: len(FLAC) // 2] + bytes(20000) + FLAC[len(FLAC) // 2 :],
            "damaged at byte",
            True,
            id="damaged FLAC",
        ),
    ],
)
@pytest.mark.parametrize("n_bytes", [300, 1 << 20])
def test_what_is_wrong_with_the_audio_is_said(
    wire: Wire, encoding: str, data: bytes, says: str, has_final: bool, n_bytes: int
) -> None:
    exchange = wire.recognise(data, every(n_bytes, data), encoding=number(encoding))
    error = failure(exchange.error)
    assert (error.reason, error.code) == ("INVALID_AUDIO", grpc.StatusCode.INVALID_ARGUMENT)
    assert says in error.message
    assert len(exchange.of("final")) == has_final, "what was heard gets its final first"
    if has_final:
        assert linear16(wire, RECORDING).text.startswith(exchange.finals[0].rsplit(" ", 1)[0])
    request = pb.RecognizeRequest(config=pb.StreamingConfig(encoding=number(encoding)), audio=data)
    with pytest.raises(grpc.RpcError) as caught:
        wire.stub.Recognize(request, timeout=60)
    assert failure(caught.value).message == error.message


def test_a_rate_that_contradicts_the_file_is_refused(wire: Wire) -> None:
    exchange = wire.recognise(FLAC, encoding=number("FLAC"), sample_rate_hertz=8000)
    error = failure(exchange.error)
    assert error.reason == "INVALID_AUDIO"
    assert "sample_rate_hertz is 8000, but the audio is FLAC of 16000 Hz" in error.message


def two_voices() -> tuple[Recording, Recording, np.ndarray]:
    left, right = (r for r in SPOKEN if r.name in ("digits-male-16k", "digits-ked-16k"))
    n_samples = max(len(left.samples), len(right.samples))
    stereo = np.zeros((n_samples, 2), np.int16)
    stereo[: len(left.samples), 0] = left.samples
    stereo[: len(right.samples), 1] = right.samples
    return left, right, stereo


class TestChannels:
    @pytest.mark.parametrize("kind", ["LINEAR16", "WAV", "FLAC", "OGG_OPUS"])
    def test_one_channel_of_two(self, wire: Wire, kind: str) -> None:
        left, right, stereo = two_voices()
        data = {
            "LINEAR16": stereo.tobytes,
            "WAV": lambda: wav(stereo.tobytes(), n_channels=2),
            "FLAC": lambda: encode("FLAC", stereo, 16000),
            "OGG_OPUS": lambda: encode("OGG_OPUS", stereo, 16000, b="96k"),
        }[kind]()
        for channel, recording in enumerate((left, right)):
            exchange = wire.recognise(
                data,
                every(999, data),
                encoding=number(kind),
                channel_count=2,
                channel_mode=pb.CHANNEL_MODE_SELECT,
                channel=channel,
            )
            assert exchange.text == recording.reference

    def test_the_mean_of_two_equal_channels_is_one_of_them(self, wire: Wire) -> None:
        data = np.repeat(RECORDING.samples, 2).astype("<i2").tobytes()
        exchange = wire.recognise(data, every(1001, data), channel_count=2)
        expected = linear16(wire, RECORDING)
        assert exchange.text == expected.text
        assert exchange.of("final")[0].end_time == expected.of("final")[0].end_time

    def test_a_channel_the_file_has_not(self, wire: Wire) -> None:
        exchange = wire.recognise(
            FLAC, encoding=number("FLAC"), channel_mode=pb.CHANNEL_MODE_SELECT, channel=1
        )
        error = failure(exchange.error)
        assert error.reason == "INVALID_AUDIO"
        assert (
            "config.channel is 1, but the audio is FLAC of 16000 Hz and 1 channel" in error.message
        )


class TestCommand:
    """`siren transcribe` of files as they are."""

    def transcribed(self, server: SirenServer, *arguments: str, given: bytes = b"") -> str:
        done = subprocess.run(
            [str(SIREN), "transcribe", *arguments, "--server", server.target],
            input=given,
            capture_output=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode().strip()

    @pytest.mark.parametrize(
        ("kind", "suffix"),
        [("FLAC", "flac"), ("OGG_OPUS", "opus"), ("WEBM_OPUS", "webm"), ("MP3", "mp3")],
    )
    def test_files(
        self, running_server: SirenServer, tmp_path: Path, kind: str, suffix: str
    ) -> None:
        path = tmp_path / f"talk.{suffix}"
        path.write_bytes(file_of(kind, RECORDING))
        assert self.transcribed(running_server, "--fast", str(path)) == RECORDING.reference
        given = self.transcribed(running_server, "-", "--encoding", "auto", given=path.read_bytes())
        assert given == RECORDING.reference

    @pytest.mark.parametrize("suffix", ["flac", "wav"])
    def test_channels(self, running_server: SirenServer, tmp_path: Path, suffix: str) -> None:
        left, right, stereo = two_voices()
        path = tmp_path / f"call.{suffix}"
        if suffix == "wav":
            path.write_bytes(wav(stereo.tobytes(), n_channels=2))
        else:
            path.write_bytes(encode("FLAC", stereo, 16000))
        fast = ("--fast", str(path), "--channels")
        assert self.transcribed(running_server, *fast, "1") == right.reference
        lines = self.transcribed(running_server, *fast, "separate").splitlines()
        said = {f"channel 0: {left.reference}", f"channel 1: {right.reference}"}
        assert set(lines) == said
        outputs = tmp_path / "texts"
        both = [str(path), str(path.with_name(f"again.{suffix}"))]
        path.with_name(f"again.{suffix}").write_bytes(path.read_bytes())
        separate = ("--channels", "separate", "--output-dir", str(outputs))
        self.transcribed(running_server, *both, *separate)
        assert set((outputs / "again.txt").read_text().splitlines()) == said

from __future__ import annotations

import numpy as np
import pytest
import soundfile

from siren_client.cli.audio_file import AudioFileError, paced, probe, read_messages, to_linear16


@pytest.fixture
def every_sample() -> np.ndarray:
    return np.arange(-32768, 32768, dtype=np.int16)


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_16_bit_mono_comes_through_bit_for_bit(tmp_path, every_sample, suffix):
    path = tmp_path / f"all.{suffix}"
    soundfile.write(path, every_sample, 16000, subtype="PCM_16")
    file = probe(path)
    assert (file.sample_rate_hertz, file.n_channels, file.duration_s) == (16000, 1, 4.096)
    messages = list(read_messages(file, message_ms=100))
    assert b"".join(messages) == every_sample.tobytes()
    assert [len(message) for message in messages] == [3200] * 40 + [65536 * 2 - 3200 * 40]


def test_other_sample_formats_are_scaled(tmp_path):
    path = tmp_path / "float.wav"
    soundfile.write(path, np.array([0.5, -0.5, 0.0]), 8000, subtype="FLOAT")
    (message,) = read_messages(probe(path), message_ms=100)
    assert np.frombuffer(message, "<i2").tolist() == [16384, -16384, 0]


def test_channels_are_averaged_and_loud_samples_clipped():
    samples = np.array([[0.5, -0.25], [2.0, 2.0], [-2.0, -2.0]], dtype=np.float32)
    assert np.frombuffer(to_linear16(samples), "<i2").tolist() == [4096, 32767, -32768]


def test_an_empty_file_has_no_messages(tmp_path):
    path = tmp_path / "empty.wav"
    soundfile.write(path, np.zeros(0, dtype=np.int16), 16000, subtype="PCM_16")
    assert list(read_messages(probe(path), message_ms=100)) == []


@pytest.mark.parametrize("sample_rate_hertz", [7999, 48001])
def test_rates_the_server_does_not_take_are_refused(tmp_path, sample_rate_hertz):
    path = tmp_path / "odd.wav"
    soundfile.write(path, np.zeros(8, dtype=np.int16), sample_rate_hertz)
    with pytest.raises(AudioFileError, match=f"{sample_rate_hertz} Hz; .*ffmpeg"):
        probe(path)


def test_paced_gives_a_message_when_a_microphone_would_have_it():
    now_s = [10.0]
    given_s = []

    def sleep(time_s: float) -> None:
        now_s[0] += time_s

    messages = iter([bytes(3200), bytes(3200), bytes(1600)])
    for _ in paced(messages, sample_rate_hertz=16000, clock=lambda: now_s[0], sleep=sleep):
        given_s.append(now_s[0])
        if len(given_s) == 1:
            now_s[0] += 0.15  # the server was slow: the next one is late, the third is not
    assert given_s == pytest.approx([10.1, 10.25, 10.25])

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from siren_client.cli.audio_file import AudioFileError, paced, probe, read_messages, to_linear16
from siren_client.cli.channels import Channels, with_channel
from siren_client.cli.wav import unfinished_wav_s
from siren_client.types import AudioEncoding, ChannelMode, Final, Partial


@pytest.fixture
def every_sample() -> np.ndarray:
    return np.arange(-32768, 32768, dtype=np.int16)


@pytest.mark.parametrize("suffix", ["wav", "aiff"])
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


def test_a_file_in_which_nothing_can_be_sought_is_read(tmp_path):
    path = tmp_path / "phone.wav"
    soundfile.write(path, np.zeros(1600), 8000, subtype="GSM610")
    messages = list(read_messages(probe(path), message_ms=100))
    assert [len(message) for message in messages[:2]] == [1600, 1600]


def test_a_file_of_no_bytes_is_called_empty(tmp_path):
    path = tmp_path / "nothing.wav"
    path.touch()
    with pytest.raises(AudioFileError, match="the file is empty"):
        probe(path)


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
    for _ in paced(messages, bytes_per_s=32000, clock=lambda: now_s[0], sleep=sleep):
        given_s.append(now_s[0])
        if len(given_s) == 1:
            now_s[0] += 0.15  # the server was slow: the next one is late, the third is not
    assert given_s == pytest.approx([10.1, 10.25, 10.25])


class TestSentAsItIs:
    @pytest.fixture
    def stereo(self) -> np.ndarray:
        return np.stack([np.arange(16000), -np.arange(16000)], axis=1).astype(np.int16)

    @pytest.mark.parametrize(
        ("suffix", "subtype"), [("flac", "PCM_16"), ("ogg", "OPUS"), ("mp3", "MPEG_LAYER_III")]
    )
    def test_what_the_server_decodes(self, tmp_path, stereo, suffix, subtype):
        path = tmp_path / f"talk.{suffix}"
        soundfile.write(path, stereo, 16000, subtype=subtype)
        file = probe(path)
        assert file.options == {"encoding": AudioEncoding.AUTO, "channel_count": 2}
        messages = list(read_messages(file, message_ms=100))
        assert b"".join(messages) == path.read_bytes()
        assert len(messages) == pytest.approx(10, abs=1), "about 100 ms each"
        assert file.bytes_per_s == pytest.approx(path.stat().st_size, rel=0.05)

    def test_vorbis_is_decoded_here(self, tmp_path, stereo):
        path = tmp_path / "talk.ogg"
        soundfile.write(path, stereo, 16000, subtype="VORBIS")
        assert probe(path).options["encoding"] is AudioEncoding.LINEAR16

    def test_webm_says_nothing_here(self, tmp_path):
        path = tmp_path / "talk.webm"
        path.write_bytes(b"\x1a\x45\xdf\xa3" + bytes(40_000))
        file = probe(path)
        assert (file.duration_s, file.options) == (None, {"encoding": AudioEncoding.AUTO})
        assert b"".join(read_messages(file, message_ms=100)) == path.read_bytes()
        with pytest.raises(AudioFileError, match="how many channels"):
            probe(path, Channels.parse("separate"))

    @pytest.mark.parametrize(
        ("choice", "options"),
        [
            ("separate", {"channel_mode": ChannelMode.SEPARATE, "channel_count": 2}),
            ("1", {"channel_mode": ChannelMode.SELECT, "channel_count": 2, "channel": 1}),
        ],
    )
    def test_chosen_channels_are_kept(self, tmp_path, stereo, choice, options):
        for suffix in ("wav", "flac"):
            path = tmp_path / f"talk.{suffix}"
            soundfile.write(path, stereo, 16000, subtype="PCM_16")
            file = probe(path, Channels.parse(choice))
            assert options.items() <= file.options.items()
        path = tmp_path / "talk.wav"
        messages = read_messages(probe(path, Channels.parse(choice)), message_ms=100)
        assert b"".join(messages) == stereo.tobytes()

    def test_a_channel_it_has_not(self, tmp_path, stereo):
        path = tmp_path / "talk.wav"
        soundfile.write(path, stereo, 16000, subtype="PCM_16")
        with pytest.raises(AudioFileError, match="no channel 2; it has 2, counted from 0"):
            probe(path, Channels.parse("2"))


class TestHeadersThatAreWrong:
    """What is sent as it is, so that the server says what is missing."""

    @pytest.fixture
    def wav(self, tmp_path) -> Path:
        path = tmp_path / "talk.wav"
        soundfile.write(path, np.arange(16000, dtype=np.int16), 16000, subtype="PCM_16")
        return path

    @pytest.mark.parametrize(("riff_bytes", "data_bytes"), [(0, 0), (2**32 - 1, 2**32 - 1)])
    def test_a_wav_written_live(self, wav, riff_bytes, data_bytes):
        content = bytearray(wav.read_bytes())
        struct.pack_into("<I", content, 4, riff_bytes)
        struct.pack_into("<I", content, 40, data_bytes)
        wav.write_bytes(content)
        file = probe(wav)
        assert file.options == {"encoding": AudioEncoding.AUTO}
        assert file.duration_s == 1.0
        assert b"".join(read_messages(file, message_ms=100)) == content

    @pytest.mark.parametrize(("n_bytes", "duration_s"), [(44 + 8001, 0.25), (44, 0.0)])
    def test_a_wav_that_was_cut_off(self, wav, n_bytes, duration_s):
        content = wav.read_bytes()[:n_bytes]
        wav.write_bytes(content)
        file = probe(wav)
        assert file.options["encoding"] is AudioEncoding.AUTO
        assert (file.duration_s or 0.0) == pytest.approx(duration_s, abs=1e-3)
        assert b"".join(read_messages(file, message_ms=100)) == content

    def test_a_wav_that_is_right(self, wav):
        assert unfinished_wav_s(wav) is None
        content = bytearray(wav.read_bytes()[:44]) + b"LIST\x04\0\0\0INFO"
        struct.pack_into("<I", content, 4, len(content) - 8)
        struct.pack_into("<I", content, 40, 0)
        wav.write_bytes(content)
        assert unfinished_wav_s(wav) is None, "a recording of nothing, with a chunk behind it"
        for other in (b"", b"RIFF", b"fLaC" * 20, b"RIFF\0\0\0\0WAVEdata\0\0\0\0abc"):
            wav.write_bytes(other)
            assert unfinished_wav_s(wav) is None
        assert unfinished_wav_s(wav.with_name("none.wav")) is None

    def test_a_codec_that_the_server_does_not_read_is_decoded_here(self, tmp_path):
        path = tmp_path / "phone.wav"
        soundfile.write(path, np.zeros(16000), 8000, subtype="GSM610")
        path.write_bytes(path.read_bytes()[:-650])
        assert probe(path).options["encoding"] is AudioEncoding.LINEAR16

    def test_a_flac_that_does_not_say_how_long_it_is(self, tmp_path):
        path = tmp_path / "live.flac"
        soundfile.write(path, np.arange(16000, dtype=np.int16), 16000, subtype="PCM_16")
        content = bytearray(path.read_bytes())
        content[21] &= 0xF0  # the 36 bits of STREAMINFO that count samples
        content[22:26] = bytes(4)
        path.write_bytes(content)
        file = probe(path)
        assert (file.duration_s, file.bytes_per_s) == (None, None)
        assert len(list(read_messages(file, message_ms=100))) <= 2

    def test_messages_are_no_single_bytes(self, tmp_path):
        path = tmp_path / "talk.flac"
        soundfile.write(path, np.zeros(16000, dtype=np.int16), 16000, subtype="PCM_16")
        messages = list(read_messages(probe(path), message_ms=1))
        assert {len(message) for message in messages[:-1]} == {64}


def test_a_pipe_is_sent_to_standard_input(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(AudioFileError, match=r"no regular file.* - --encoding auto"):
        probe(tmp_path / "pipe")


@pytest.mark.parametrize("choice", ["both", "-1", "", "1.0"])
def test_other_choices_are_none(choice):
    with pytest.raises(ValueError, match="is not mix, separate or a number"):
        Channels.parse(choice)


def test_results_tell_their_channel_in_words():
    partial = Partial(text="seven up", stable_len=5, seq=1, audio_processed_s=1.0, channel=1)
    named = with_channel(partial)
    assert isinstance(named, Partial)
    assert (named.stable, named.tail) == ("channel 1: seven", " up")
    final = Final(text="", seq=1, start_s=0.0, end_s=1.0)
    assert with_channel(final) is final

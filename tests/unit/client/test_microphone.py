"""The sound device is a double: there is none here. What is heard is only passed on.

tests/e2e/test_command.py listens to a real PortAudio device where there is one.
"""

from __future__ import annotations

import signal
import sys
import threading
from types import ModuleType, SimpleNamespace

import pytest
from siren.v1 import speech_pb2 as pb
from typer.testing import CliRunner

from siren_client.cli.app import build_app
from siren_client.microphone import AudioLoss, Microphone, MicrophoneError, input_devices

BLOCK = b"\x01\x00" * 1600


class PortAudioError(Exception):
    pass


class FakeStream:
    """A device that hears what the test says."""

    def __init__(self, sound: FakeSoundDevice, settings) -> None:
        if settings["samplerate"] not in sound.rates:
            raise PortAudioError("Invalid sample rate [PaErrorCode -9997]")
        self.settings = settings
        sound.streams.append(self)
        self._sound = sound

    def start(self) -> None:
        threading.Thread(target=self._sound.on_start, args=(self,)).start()

    def close(self) -> None:
        self.settings["finished_callback"]()

    def hear(self, data: bytes, *, overflow: bool = False) -> None:
        status = SimpleNamespace(input_overflow=overflow)
        self.settings["callback"](memoryview(data), len(data) // 2, None, status)


class FakeSoundDevice(ModuleType):
    PortAudioError = PortAudioError

    def __init__(self) -> None:
        super().__init__("sounddevice")
        self.rates = {16000, 44100}
        self.streams: list[FakeStream] = []
        self.on_start = lambda stream: None
        self.devices = [
            {"index": 0, "name": "Speaker", "hostapi": 0, "max_input_channels": 0},
            {"index": 1, "name": "USB Mic", "hostapi": 0, "max_input_channels": 2},
        ]
        for device in self.devices:
            device["default_samplerate"] = 44100.0

    def query_hostapis(self):
        return [{"name": "ALSA"}]

    def query_devices(self, device=None, kind=None):
        if kind is None:
            return self.devices
        for candidate in self.devices:
            named = device in (None, candidate["index"]) or str(device) in candidate["name"]
            if named and candidate["max_input_channels"] > 0:
                return candidate
        raise ValueError(f"No input device matching {device!r}")

    def check_input_settings(self, *, samplerate, **_settings):
        if samplerate not in self.rates:
            raise PortAudioError("Invalid sample rate")

    def RawInputStream(self, **settings):
        return FakeStream(self, settings)


@pytest.fixture
def sound(monkeypatch):
    sound = FakeSoundDevice()
    monkeypatch.setitem(sys.modules, "sounddevice", sound)
    return sound


def test_what_is_heard_is_given_out_until_stop(sound):
    with Microphone() as microphone:
        (stream,) = sound.streams
        assert stream.settings["blocksize"] == 1600
        stream.hear(BLOCK)
        stream.hear(BLOCK[:10])
        microphone.stop()
        stream.hear(BLOCK)
        assert list(microphone) == [BLOCK, BLOCK[:10]]
    assert (microphone.name, microphone.sample_rate_hertz) == ("USB Mic", 16000)
    assert (microphone.n_losses, microphone.lost_s) == (0, 0.0)


def test_the_devices_own_rate_is_taken_where_it_has_no_other(sound):
    sound.rates = {44100}
    with Microphone("USB") as microphone:
        assert microphone.sample_rate_hertz == 44100
    with pytest.raises(MicrophoneError, match=r"Invalid sample rate.*1 USB Mic"):
        Microphone(sample_rate_hertz=8000)


def test_a_full_buffer_loses_audio_and_says_so_once(sound):
    losses = []
    with Microphone(buffer_s=0.4, on_loss=losses.append) as microphone:
        (stream,) = sound.streams
        for _ in range(7):
            stream.hear(BLOCK)
        assert losses == [AudioLoss.SENDER]
        assert microphone.lost_s == pytest.approx(0.3)
        for _ in range(3):
            next(microphone)
        stream.hear(BLOCK)
        for _ in range(4):
            stream.hear(BLOCK)
        assert losses == [AudioLoss.SENDER] * 2
        assert microphone.n_losses == 2


def test_what_the_system_drops_is_a_loss_too(sound):
    losses = []
    with Microphone(on_loss=losses.append):
        sound.streams[0].hear(BLOCK, overflow=True)
        sound.streams[0].hear(BLOCK, overflow=True)
    assert losses == [AudioLoss.DEVICE]


def test_without_somebody_to_tell_a_loss_is_raised(sound):
    with Microphone(buffer_s=0.1) as microphone:
        sound.streams[0].hear(BLOCK)
        sound.streams[0].hear(BLOCK)
        assert next(microphone) == BLOCK
        with pytest.raises(MicrophoneError, match="audio was lost: the server takes it slower"):
            next(microphone)


def test_a_device_that_goes_away_is_an_error(sound):
    with Microphone() as microphone:
        sound.streams[0].hear(BLOCK)
        sound.streams[0].close()
        assert next(microphone) == BLOCK
        with pytest.raises(MicrophoneError, match="USB Mic stopped: was it unplugged"):
            next(microphone)


def test_devices(sound):
    (device,) = input_devices()
    assert (device.index, device.name, device.system, device.is_default) == (
        *(1, "USB Mic", "ALSA"),
        True,
    )


def test_an_unknown_device_names_those_there_are(sound):
    with pytest.raises(MicrophoneError, match=r"microphone 'none' cannot.*There are: 1 USB Mic"):
        Microphone("none")
    sound.devices.clear()
    with pytest.raises(MicrophoneError, match="there is no sound device to listen to"):
        Microphone()


def test_what_is_missing_is_named_with_the_next_step(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(MicrophoneError, match=r"pip install 'siren-grpc-client\[mic\]'"):
        input_devices()
    monkeypatch.delitem(sys.modules, "sounddevice")
    (tmp_path / "sounddevice.py").write_text("raise OSError('PortAudio library not found')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MicrophoneError, match="apt-get install libportaudio2"):
        Microphone()


@pytest.fixture
def run(echo, monkeypatch):
    monkeypatch.setenv("SIREN_SERVER", echo.target)
    monkeypatch.delenv("FORCE_COLOR", raising=False)

    def run(*arguments: object):
        return CliRunner().invoke(build_app([]), [str(argument) for argument in arguments])

    return run


def hear_and_interrupt(*blocks: bytes):
    """A device that hears this and then sees the person press Ctrl-C."""

    def on_start(stream: FakeStream) -> None:
        for block in blocks:
            stream.hear(block)
        signal_main()

    return on_start


def signal_main() -> None:

    # Only once `siren listen` listens for it: before, Ctrl-C ends any program.
    while signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        threading.Event().wait(0.01)
    signal.raise_signal(signal.SIGINT)


def test_listen_prints_the_last_final_on_ctrl_c(run, sound, echo, tmp_path):
    sound.on_start = hear_and_interrupt(BLOCK, BLOCK)
    done = run(
        *("listen", "--device", 1, "--chunk-frames", 2, "--json"),
        *("--output", tmp_path / "notes.jsonl"),
    )
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout == "6400 bytes\n"
    assert '"text": "6400 bytes"' in (tmp_path / "notes.jsonl").read_text()
    config = echo.service.requests[0].config
    assert config == pb.StreamingConfig(
        encoding=pb.AUDIO_ENCODING_LINEAR16,
        sample_rate_hertz=16000,
        chunk_frames=2,
        resumable=True,
        endpointing=pb.EndpointingConfig(detector=pb.EndpointingConfig.DETECTOR_DECODER),
    )


def test_listen_makes_everything_one_utterance_on_request(run, sound, echo):
    sound.on_start = hear_and_interrupt(BLOCK)
    assert run("listen", "--endpointing", "off").exit_code == 0
    assert not echo.service.requests[0].config.HasField("endpointing")


def test_listen_ends_with_an_error_when_audio_was_lost(run, sound):
    def on_start(stream: FakeStream) -> None:
        stream.hear(BLOCK, overflow=True)
        signal_main()

    sound.on_start = on_start
    done = run("listen")
    assert (done.exit_code, done.stdout) == (1, "3200 bytes\n")
    assert "error: audio is being lost: this computer was too busy" in done.stderr
    assert "error: audio was lost once" in done.stderr


def test_listen_lists_devices(run, sound):
    assert "USB Mic" in run("listen", "--list-devices").stdout
    assert '"name": "USB Mic"' in run("listen", "--list-devices", "--json").stdout


def test_listen_without_a_microphone_says_what_to_do(run, sound):
    sound.devices.clear()
    done = run("listen")
    assert done.exit_code == 1
    assert "there is no sound device to listen to" in done.stderr
    assert "--list-devices" in done.stderr

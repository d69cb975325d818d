"""A microphone as the audio of a stream. It needs the extra `mic`; nothing else does.

with Microphone() as microphone, SirenClient() as client:
    for result in client.stream(
        microphone, sample_rate_hertz=microphone.sample_rate_hertz
    ):
        ...
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from types import TracebackType
from typing import TYPE_CHECKING, Any

from siren_client._audio_queue import AudioQueue

if TYPE_CHECKING:
    from typing_extensions import Self

USUAL_SAMPLE_RATE_HERTZ = 16000
_MIN_SAMPLE_RATE_HERTZ = 8000
_MAX_SAMPLE_RATE_HERTZ = 48000
_SAMPLE_BYTES = 2


class MicrophoneError(Exception):
    """No microphone, or it failed; the message says why and what to do."""


class AudioLoss(str, Enum):
    """Why audio was lost."""

    SENDER = "sender"
    """The buffer is full: the server takes audio slower than it is spoken, or not at all."""
    DEVICE = "device"
    """The sound system dropped it: this computer was too busy to fetch it in time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InputDevice:
    """A sound device one can listen to."""

    index: int
    """What `Microphone` takes as device."""
    name: str
    """Its name; a part of it is enough for `Microphone`."""
    system: str
    """The sound system it is reached through, such as `ALSA`."""
    n_channels: int
    """How many channels it has at most."""
    sample_rate_hertz: int
    """Samples per second it works at by itself."""
    is_default: bool
    """Whether it is taken when none is named."""


def input_devices() -> list[InputDevice]:
    """List the devices one can listen to, in PortAudio's order.

    Raises:
        MicrophoneError: sounddevice or PortAudio is not installed, or fails.
    """
    sounddevice = _import_sounddevice()
    try:
        systems = sounddevice.query_hostapis()
        default = _default_index(sounddevice)
        return [
            InputDevice(
                index=device["index"],
                name=device["name"],
                system=systems[device["hostapi"]]["name"],
                n_channels=device["max_input_channels"],
                sample_rate_hertz=round(device["default_samplerate"]),
                is_default=device["index"] == default,
            )
            for device in sounddevice.query_devices()
            if device["max_input_channels"] > 0
        ]
    except sounddevice.PortAudioError as error:
        raise MicrophoneError(f"the sound devices cannot be listed: {error}") from error


class Microphone(Iterator[bytes]):
    """What a sound device hears, as LINEAR16: audio for `stream()`.

    It hears from the moment it is made until `stop()`, and holds at most `buffer_s` of
    what the stream has not fetched yet. What finds no room is lost, and that is an error:
    the iterator raises `MicrophoneError`, or, with `on_loss`, goes on after telling it.

    Args:
        device: Index, name or part of the name of a device; None for the default one.
        sample_rate_hertz: 8000 to 48000; None for 16000, or the device's own rate if it
            has only that.
        message_ms: Audio in each item, in milliseconds.
        buffer_s: Most audio held, in seconds.
        on_loss: Called when audio begins to be lost, from PortAudio's thread, and
            not again before half of the buffer is free.

    Raises:
        MicrophoneError: sounddevice or PortAudio is not installed, or there is no such
            device or rate.
    """

    def __init__(
        self,
        device: int | str | None = None,
        *,
        sample_rate_hertz: int | None = None,
        message_ms: int = 100,
        buffer_s: float = 30.0,
        on_loss: Callable[[AudioLoss], None] | None = None,
    ) -> None:
        sounddevice = _import_sounddevice()
        try:
            info = sounddevice.query_devices(device, "input")
            rate = _choose_rate(sounddevice, info, sample_rate_hertz)
            self._name = str(info["name"])
            self._rate = rate
            self._queue = AudioQueue(max_bytes=max(1, int(buffer_s * rate)) * _SAMPLE_BYTES)
            self._on_loss = on_loss
            self._is_losing = False
            self._n_losses = 0
            self._lost_samples = 0
            self._stream = sounddevice.RawInputStream(
                samplerate=rate,
                blocksize=max(1, rate * message_ms // 1000),
                device=info["index"],
                channels=1,
                dtype="int16",
                callback=self._on_audio,
                finished_callback=self._on_finished,
            )
            self._stream.start()
        except (sounddevice.PortAudioError, ValueError) as error:
            raise MicrophoneError(_explain(sounddevice, device, error)) from error

    @property
    def name(self) -> str:
        """The device's name."""
        return self._name

    @property
    def sample_rate_hertz(self) -> int:
        """Samples per second of the audio given out."""
        return self._rate

    @property
    def n_losses(self) -> int:
        """How often audio was lost."""
        return self._n_losses

    @property
    def lost_s(self) -> float:
        """Audio that found no room, in seconds; the sound system does not say how much it lost."""
        return self._lost_samples / self._rate

    def stop(self) -> None:
        """Hear no more; what was heard is still given out. Any thread, a signal handler too."""
        self._queue.end()

    def close(self) -> None:
        """Stop, and give the device back."""
        self.stop()
        self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __next__(self) -> bytes:
        """Wait for the next `message_ms` of audio.

        Raises:
            StopIteration: `stop()` was called and everything heard was given out.
            MicrophoneError: The device failed, or audio was lost and there is no `on_loss`.
        """
        return next(self._queue)

    # PortAudio's thread. It may wait for nothing, save to tell of a loss, when audio is
    # being lost already.
    def _on_audio(self, indata: Any, n_samples: int, _time: object, status: Any) -> None:
        if status.input_overflow:
            self._lose(AudioLoss.DEVICE, 0)
        if not self._queue.offer(bytes(indata)):
            if not self._queue.is_ended:
                self._lose(AudioLoss.SENDER, n_samples)
        elif not status.input_overflow and self._queue.fill <= 0.5:
            self._is_losing = False  # not sooner, or one slow stretch would be many losses

    def _on_finished(self) -> None:
        self._queue.fail(MicrophoneError(f"{self._name} stopped: was it unplugged?"))

    def _lose(self, loss: AudioLoss, n_samples: int) -> None:
        self._lost_samples += n_samples
        if self._is_losing:
            return
        self._is_losing = True
        self._n_losses += 1
        if self._on_loss is not None:
            self._on_loss(loss)
        else:
            self._queue.fail(MicrophoneError(f"audio was lost: {describe_loss(loss)}"))


def describe_loss(loss: AudioLoss) -> str:
    """Say why audio was lost, for a person. Pure."""
    if loss is AudioLoss.SENDER:
        return "the server takes it slower than it is spoken"
    return "this computer was too busy to fetch it from the sound system"


def _import_sounddevice() -> Any:
    try:
        import sounddevice
    except ModuleNotFoundError as error:
        if error.name not in ("sounddevice", "_cffi_backend", "cffi"):
            raise
        raise MicrophoneError(
            "listening to a microphone needs the package sounddevice. "
            "Install it with: pip install 'siren-grpc-client[mic]'"
        ) from error
    except OSError as error:  # "PortAudio library not found"
        raise MicrophoneError(
            f"listening to a microphone needs the PortAudio library ({error}). "
            "Install it with: apt-get install libportaudio2"
        ) from error
    return sounddevice


def _default_index(sounddevice: Any) -> int | None:
    try:
        index: int = sounddevice.query_devices(None, "input")["index"]
    except (sounddevice.PortAudioError, ValueError):
        return None
    return index


def _choose_rate(sounddevice: Any, info: Any, wanted_hertz: int | None) -> int:
    candidates = [wanted_hertz] if wanted_hertz is not None else [USUAL_SAMPLE_RATE_HERTZ]
    own_hertz = round(info["default_samplerate"])
    if wanted_hertz is None and _MIN_SAMPLE_RATE_HERTZ <= own_hertz <= _MAX_SAMPLE_RATE_HERTZ:
        candidates.append(own_hertz)
    for rate_hertz in candidates[:-1]:
        try:
            sounddevice.check_input_settings(
                device=info["index"], channels=1, dtype="int16", samplerate=rate_hertz
            )
        except sounddevice.PortAudioError:
            continue
        return rate_hertz
    return candidates[-1]  # opening it says what is wrong with it


def _explain(sounddevice: Any, device: int | str | None, error: Exception) -> str:
    named = "the default microphone" if device is None else f"microphone {device!r}"
    try:
        inputs = [
            f"{candidate['index']} {candidate['name']}"
            for candidate in sounddevice.query_devices()
            if candidate["max_input_channels"] > 0
        ]
    except sounddevice.PortAudioError:
        inputs = []
    if not inputs:
        return f"{named} cannot be opened: there is no sound device to listen to ({error})"
    return f"{named} cannot be opened: {error}. There are: {', '.join(inputs)}"

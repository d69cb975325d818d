"""Sound files as messages: as they are where the server decodes them, else as LINEAR16."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from siren_client.cli.channels import Channels
from siren_client.cli.wav import unfinished_wav_s
from siren_client.types import AudioEncoding, ChannelMode, RecognitionOptions

MIN_SAMPLE_RATE_HERTZ = 8000
MAX_SAMPLE_RATE_HERTZ = 48000
_HEAD_BYTES = 64
_WAV_SUBTYPES = ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ALAW", "ULAW")
"""What the server reads of WAV."""
_AS_IT_IS_BYTES = 16 * 1024
"""A message of a file whose length in seconds nobody knows."""
_LEAST_AS_IT_IS_BYTES = 64
"""A message of any other that is sent as it is: its pace may be guessed wrong."""
_MOST_SAMPLES_PER_BYTE = 8192
"""Beyond the best compression of silence. libsndfile counts 2**63 - 1 samples in a FLAC file whose
header does not say how many it has."""


class AudioFileError(Exception):
    """A file that cannot be sent; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class AudioFile:
    """A sound file that can be sent."""

    path: Path
    sample_rate_hertz: int
    """0 when only the server can tell."""
    n_channels: int
    """0 when only the server can tell."""
    duration_s: float | None
    """None when nobody knows before it was decoded."""
    channels: Channels = Channels()  # noqa: RUF009  # frozen
    """What is recognised of it."""
    is_sent_as_it_is: bool = False

    @property
    def options(self) -> RecognitionOptions:
        """How its messages are to be read."""
        if self.is_sent_as_it_is:
            options = self.channels.to_options(self.n_channels)
            options["encoding"] = AudioEncoding.AUTO
            return options
        options = self.channels.to_options(self.n_channels if self._keeps_channels else 1)
        options["encoding"] = AudioEncoding.LINEAR16
        options["sample_rate_hertz"] = self.sample_rate_hertz
        return options

    @property
    def bytes_per_s(self) -> float | None:
        """How much of its messages a second of audio is, on average; None if nobody knows."""
        if not self.is_sent_as_it_is:
            return self.sample_rate_hertz * 2 * (self.n_channels if self._keeps_channels else 1)
        return self.path.stat().st_size / self.duration_s if self.duration_s else None

    @property
    def _keeps_channels(self) -> bool:
        return self.channels.mode is not ChannelMode.MIX


def probe(path: Path, channels: Channels | None = None) -> AudioFile:
    """Look at a file without reading its audio.

    Raises:
        AudioFileError: No audio file, a sample rate the server does not take, or not the
            channels asked for.
    """
    channels = channels or Channels()
    if path.exists() and not path.is_file():
        raise AudioFileError(
            f"{path}: no regular file, but a pipe or device, which can be read only once. Send it "
            "through standard input: `siren transcribe - --encoding auto < PIPE`"
        )
    kind = _kind(path)
    if kind == "webm":
        if channels.mode is ChannelMode.SEPARATE:
            raise AudioFileError(
                f"{path}: how many channels a WebM file has is not known here. Make it one that "
                f"says so: ffmpeg -i '{path}' out.flac"
            )
        return AudioFile(path, 0, 0, None, channels, is_sent_as_it_is=True)
    try:
        header = soundfile.info(os.fsencode(path))
    except (soundfile.SoundFileError, OSError) as error:
        if path.is_file() and path.stat().st_size == 0:
            raise AudioFileError(f"{path}: the file is empty") from error
        raise AudioFileError(
            f"{path}: not a sound file that can be read ({error}). "
            f"ffmpeg makes one of most others: ffmpeg -i '{path}' -ac 1 -ar 16000 out.wav"
        ) from error
    if not MIN_SAMPLE_RATE_HERTZ <= header.samplerate <= MAX_SAMPLE_RATE_HERTZ:
        raise AudioFileError(
            f"{path}: {header.samplerate} Hz; the server takes {MIN_SAMPLE_RATE_HERTZ} to "
            f"{MAX_SAMPLE_RATE_HERTZ} Hz. Resample it: ffmpeg -i '{path}' -ar 16000 out.wav"
        )
    if channels.mode is ChannelMode.SELECT and channels.selected >= header.channels:
        raise AudioFileError(
            f"{path}: no channel {channels.selected}; it has {header.channels}, counted from 0"
        )
    # libsndfile reads as much of such a file as is there, or nothing, and calls that the whole: the
    # server says what is missing, as it does of one that comes through standard input.
    unfinished_s = unfinished_wav_s(path) if header.subtype in _WAV_SUBTYPES else None
    return AudioFile(
        path=path,
        sample_rate_hertz=header.samplerate,
        n_channels=header.channels,
        duration_s=unfinished_s or _duration_s(header, path),
        channels=channels,
        is_sent_as_it_is=kind != "" or header.format == "MP3" or unfinished_s is not None,
    )


def _duration_s(header: Any, path: Path) -> float | None:
    """Return what the header says, if that can be."""
    if not 0 < header.frames <= path.stat().st_size * _MOST_SAMPLES_PER_BYTE:
        return None
    return float(header.frames / header.samplerate)


def _kind(path: Path) -> str:
    """Name the container that the server reads as it is, by the first bytes; else empty."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError:
        return ""  # soundfile says it better
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return "webm"
    if head.startswith(b"OggS") and (b"OpusHead" in head or b"\x7fFLAC" in head):
        return "ogg"
    return "flac" if head.startswith(b"fLaC") else ""


def read_messages(file: AudioFile, *, message_ms: int) -> Iterator[bytes]:
    """Read a file, about `message_ms` to a message.

    The last message may be shorter. The file is read as it is consumed. Where it is not sent
    as it is, the messages are LINEAR16, mixed down unless channels are chosen.

    Raises:
        AudioFileError: It is damaged, or gone.
    """
    return _read_as_it_is(file, message_ms) if file.is_sent_as_it_is else _read(file, message_ms)


def _read_as_it_is(file: AudioFile, message_ms: int) -> Iterator[bytes]:
    try:
        rate = file.bytes_per_s
        n_bytes = _AS_IT_IS_BYTES
        if rate is not None:
            n_bytes = max(_LEAST_AS_IT_IS_BYTES, int(rate * message_ms / 1000))
        with file.path.open("rb") as sound:
            while data := sound.read(n_bytes):
                yield data
    except OSError as error:
        raise AudioFileError(f"{file.path}: cannot be read ({error})") from error


def _read(file: AudioFile, message_ms: int) -> Iterator[bytes]:
    read_s = 0.0
    to_bytes = to_linear16 if file.channels.mode is ChannelMode.MIX else _to_interleaved
    try:
        with soundfile.SoundFile(os.fsencode(file.path)) as sound:
            message_samples = max(1, sound.samplerate * message_ms // 1000)
            # Not sound.blocks(): it wants to seek, and a file of GSM 6.10, say, cannot.
            while len(block := sound.read(message_samples, dtype="float32", always_2d=True)):
                yield to_bytes(block)
                read_s += len(block) / sound.samplerate
    except (soundfile.SoundFileError, OSError) as error:
        raise AudioFileError(
            f"{file.path}: cannot be read beyond {read_s:.1f} s, it is damaged ({error})"
        ) from error


def to_linear16(samples: NDArray[np.float32]) -> bytes:
    """Mix down and round to 16 bits; 16-bit mono comes through bit for bit.

    Args:
        samples: [n_samples, n_channels] in [-1, 1]; what is louder is clipped.
    """
    return _to_interleaved(samples.mean(axis=1, dtype=np.float64))


def _to_interleaved(samples: NDArray[np.floating]) -> bytes:
    # libsndfile reads an integer sample s as s / 32768.
    return bytes(np.clip(np.rint(samples * 32768.0), -32768, 32767).astype("<i2").tobytes())


def paced(
    messages: Iterator[bytes],
    *,
    bytes_per_s: float,
    clock: Callable[[], float],
    sleep: Callable[[float], object],
) -> Iterator[bytes]:
    """Hold back each message until a microphone would have heard all of it.

    Args:
        messages: Audio.
        bytes_per_s: How much of it a second is.
        clock: Seconds of a clock that never goes back; read from the first message on.
        sleep: Waits for a number of seconds.
    """
    start_s = clock()
    heard_s = 0.0
    for message in messages:
        heard_s += len(message) / bytes_per_s
        wait_s = start_s + heard_s - clock()
        if wait_s > 0:
            sleep(wait_s)
        yield message

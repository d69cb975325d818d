"""Sound files as messages of LINEAR16 audio."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

MIN_SAMPLE_RATE_HERTZ = 8000
MAX_SAMPLE_RATE_HERTZ = 48000


class AudioFileError(Exception):
    """A file that cannot be sent; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class AudioFile:
    """A sound file that can be sent."""

    path: Path
    sample_rate_hertz: int
    n_channels: int
    duration_s: float


def probe(path: Path) -> AudioFile:
    """Look at a file without reading its audio.

    Raises:
        AudioFileError: No audio file, or a sample rate the server does not take.
    """
    try:
        header = soundfile.info(str(path))
    except (soundfile.SoundFileError, OSError) as error:
        raise AudioFileError(
            f"{path}: not a sound file that can be read ({error}). "
            f"ffmpeg makes one of most others: ffmpeg -i '{path}' -ac 1 -ar 16000 out.wav"
        ) from error
    if not MIN_SAMPLE_RATE_HERTZ <= header.samplerate <= MAX_SAMPLE_RATE_HERTZ:
        raise AudioFileError(
            f"{path}: {header.samplerate} Hz; the server takes {MIN_SAMPLE_RATE_HERTZ} to "
            f"{MAX_SAMPLE_RATE_HERTZ} Hz. Resample it: ffmpeg -i '{path}' -ar 16000 out.wav"
        )
    return AudioFile(
        path=path,
        sample_rate_hertz=header.samplerate,
        n_channels=header.channels,
        duration_s=header.frames / header.samplerate,
    )


def read_messages(file: AudioFile, *, message_ms: int) -> Iterator[bytes]:
    """Read a file as LINEAR16, mixed down to mono, `message_ms` to a message.

    The last message may be shorter. The file is read as it is consumed.

    Raises:
        AudioFileError: It is damaged, or gone.
    """
    read_s = 0.0
    try:
        with soundfile.SoundFile(str(file.path)) as sound:
            message_samples = max(1, sound.samplerate * message_ms // 1000)
            for block in sound.blocks(blocksize=message_samples, dtype="float32", always_2d=True):
                yield to_linear16(block)
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
    mono = samples.mean(axis=1, dtype=np.float64)
    # libsndfile reads an integer sample s as s / 32768.
    return bytes(np.clip(np.rint(mono * 32768.0), -32768, 32767).astype("<i2").tobytes())


def paced(
    messages: Iterator[bytes],
    *,
    sample_rate_hertz: int,
    clock: Callable[[], float],
    sleep: Callable[[float], object],
) -> Iterator[bytes]:
    """Hold back each message until a microphone would have heard all of it.

    Args:
        messages: LINEAR16 audio.
        sample_rate_hertz: Its sample rate.
        clock: Seconds of a clock that never goes back; read from the first message on.
        sleep: Waits for a number of seconds.
    """
    start_s = clock()
    heard_s = 0.0
    for message in messages:
        heard_s += len(message) / 2 / sample_rate_hertz
        wait_s = start_s + heard_s - clock()
        if wait_s > 0:
            sleep(wait_s)
        yield message

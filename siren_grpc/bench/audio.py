"""Endless speech made of recordings with pauses between them."""

from __future__ import annotations

import wave
from collections.abc import Sequence
from pathlib import Path
from random import Random

import numpy as np

from siren_grpc.audio.decode import AudioDecoder, Encoding
from siren_grpc.audio.resample import Resampler
from siren_grpc.domain.work import Samples

DEMO = Path(__file__).parents[1] / "assets" / "demo.wav"
"""The recording that ships with the package."""
_PAUSES_S = (0.6, 1.6)


class UnusableAudio(Exception):
    """A file the benchmarks cannot play; the message says what would be right."""


def load_recordings(paths: Sequence[Path], *, sample_rate_hertz: int) -> list[Samples]:
    """Read WAV files, mono 16-bit PCM of any rate, at the rate asked for.

    No paths: the recording that ships with the package. Returns [n_samples] of each, in [-1, 1].
    Raises UnusableAudio.
    """
    return [_load(path, sample_rate_hertz) for path in (paths or [DEMO])]


def _load(path: Path, sample_rate_hertz: int) -> Samples:
    try:
        with wave.open(str(path)) as file:
            if file.getnchannels() != 1 or file.getsampwidth() != 2:
                raise UnusableAudio(f"{path}: not mono 16-bit PCM")
            data, hertz = file.readframes(file.getnframes()), file.getframerate()
    except (OSError, EOFError, wave.Error) as error:
        raise UnusableAudio(f"{path}: not a WAV file that can be read ({error})") from error
    resampler = Resampler(hertz, sample_rate_hertz)
    samples = resampler.push(AudioDecoder(Encoding.LINEAR16).push(data))
    return np.concatenate([samples, resampler.flush()])


class Speech:
    """Plays recordings in random order with random pauses, from a random place in the first.

    Two of the same seed play the same; 16-bit samples, so that they are the same as PCM bytes.
    """

    def __init__(self, recordings: Sequence[Samples], *, sample_rate_hertz: int, seed: int) -> None:
        """Start at a random place. recordings: mono, at sample_rate_hertz."""
        self._recordings = recordings
        self._rate = sample_rate_hertz
        self._random = Random(seed)
        first = self._random.choice(recordings)
        self._held = first[self._random.randrange(len(first)) :]
        self._is_pause = False

    def next_part(self) -> tuple[Samples, bool]:
        """Return the next recording or pause, and whether it is a pause; they alternate."""
        if self._is_pause:
            self._held = self._random.choice(self._recordings)
            seconds = self._random.uniform(*_PAUSES_S)
            part = np.zeros(int(seconds * self._rate), np.float32)
        else:
            part = self._held
        self._is_pause = not self._is_pause
        return part, not self._is_pause

    def take(self, n_samples: int) -> Samples:
        """Return the next [n_samples], of which the last second is silence."""
        parts: list[Samples] = []
        length = 0
        while length < n_samples:
            part, _ = self.next_part()
            parts.append(part)
            length += len(part)
        samples = np.concatenate(parts)[:n_samples]
        samples[max(0, n_samples - self._rate) :] = 0
        return samples


def to_pcm(samples: Samples) -> bytes:
    """Return [n_samples] in [-1, 1] as 16-bit little-endian PCM; what is louder is clipped."""
    return (samples * 32768).clip(-32768, 32767).astype("<i2").tobytes()

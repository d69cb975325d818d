"""Sounds to recognise, made with fixed seeds. Mono float32 at 16 kHz unless told otherwise."""

from __future__ import annotations

import numpy as np

from siren_grpc.audio.resample import Resampler
from siren_grpc.domain.work import Samples
from tests.support import audio

RATE_HERTZ = 16000


def babble(n_samples: int, seed: int, *, rate_hertz: int = RATE_HERTZ) -> Samples:
    """Make something like speech: voiced and hissing syllables of changing vowels, and pauses."""
    random = np.random.default_rng(seed)
    sound = np.zeros(n_samples)
    at = 0
    while at < n_samples:
        length = int(rate_hertz * random.uniform(0.08, 0.3))
        t = np.arange(length) / rate_hertz
        kind = random.choice(["vowel", "vowel", "hiss", "pause"])
        if kind == "vowel":
            pitch = random.uniform(90, 240) * (1 + random.uniform(-0.2, 0.2) * t)
            syllable = np.zeros(length)
            formants = random.uniform([300, 900, 2200], [850, 2200, 3000])
            for harmonic in range(1, int(0.45 * rate_hertz / 260)):
                loudness = np.exp(-(((harmonic * pitch[0] - formants) / 120) ** 2)).sum() + 0.01
                syllable += loudness * np.sin(2 * np.pi * harmonic * np.cumsum(pitch) / rate_hertz)
            syllable *= 0.3 / (np.abs(syllable).max() + 1e-9)
        elif kind == "hiss":
            syllable = np.diff(random.normal(0, 0.05, length + 1))
        else:
            syllable = np.zeros(length)
        window = np.hanning(length)[: n_samples - at]
        sound[at : at + length] = syllable[: n_samples - at] * window
        at += length
    return (sound + random.normal(0, 0.0005, n_samples)).astype(np.float32)


def telephone(n_samples: int, seed: int) -> Samples:
    """Make babble at 8 kHz and resample it as a stream's audio is."""
    resampler = Resampler(8000, RATE_HERTZ)
    low = babble(n_samples // 2, seed, rate_hertz=8000)
    return np.concatenate((resampler.push(low), resampler.flush()))


def tones(n_samples: int, seed: int) -> Samples:
    """Make a chord that jumps every 50 ms at full scale, as no voice does."""
    random = np.random.default_rng(seed)
    pitch = np.repeat(random.uniform(100, 7000, n_samples // 800 + 1), 800)[:n_samples]
    return np.sign(np.sin(2 * np.pi * np.cumsum(pitch) / RATE_HERTZ)).astype(np.float32)


def zeros(n_samples: int) -> Samples:
    """Digital silence."""
    return np.zeros(n_samples, np.float32)


def noise_floor(n_samples: int, seed: int) -> Samples:
    """Silence as a microphone hears it."""
    random = np.random.default_rng(seed)
    return random.normal(0, 1e-4, n_samples).astype(np.float32)


def shipped(at_most: int) -> list[tuple[str, Samples]]:
    """Return the shortest recordings of the repository at 16 kHz; none while it ships none."""
    if not (audio.RECORDINGS / "references.json").is_file():
        return []
    found = []
    by_length = sorted(audio.shipped_recordings(), key=lambda recording: recording.duration_s)
    for recording in by_length[:at_most]:
        resampler = Resampler(recording.sample_rate_hertz, RATE_HERTZ)
        low = recording.samples.astype(np.float32) / 32768
        found.append((recording.name, np.concatenate((resampler.push(low), resampler.flush()))))
    return found

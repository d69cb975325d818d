"""Draw training utterances: digit strings of one pseudo speaker, synthetic speech, and noise.

Everything random happens here, on the fly: gaps, rooms, band-width, companding, noise and gain.
This module has no command of its own; ``training.train`` and ``training.evaluate`` use it.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr
from numpy.typing import NDArray

from training import texts

RATE = 16000
Wave = NDArray[np.float32]
#: (first sample, end sample, digit) of each joined take
Spans = list[tuple[int, int, int]]


@dataclass(frozen=True)
class Speech:
    """Utterances end to end: ``audio`` int16, utterance i is ``[starts[i], ends[i])``."""

    audio: NDArray[np.int16]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    labels: NDArray[np.str_] | NDArray[np.int64]
    voices: NDArray[np.str_] | NDArray[np.int64]

    @classmethod
    def load(cls, path: Path, labels: str) -> Speech:
        """Read an ``.npz`` of ``training.synthesise`` or ``training.pseudo_speakers``."""
        data = np.load(path)
        ends = data["ends"]
        starts = np.concatenate([[0], ends[:-1]])
        return cls(data["audio"], starts, ends, data[labels], data["voices"])

    def wave(self, index: int) -> Wave:
        """Return one utterance, [-1, 1]."""
        return self.audio[self.starts[index] : self.ends[index]].astype(np.float32) / 32768


class DigitSpeaker:
    """All takes of one real speaker's voices, found by voice and digit."""

    def __init__(self, path: Path) -> None:
        """Read ``SPEAKER.npz``."""
        self.speech = Speech.load(path, "digits")
        self.count = int(self.speech.voices.max()) + 1
        self.recorded = 0 if path.stem.startswith("blend") else 5
        """Voices from 0 that are as recorded or merely sped up."""
        self._takes = {
            (voice, digit): np.flatnonzero(
                (self.speech.voices == voice) & (self.speech.labels == digit)
            )
            for voice in range(self.count)
            for digit in range(10)
        }
        self.digits = [
            digit
            for digit in range(10)
            if all(len(self._takes[voice, digit]) for voice in range(self.count))
        ]
        """Those it says: some voices cannot say all."""

    def take(self, rng: random.Random, voice: int, digit: int) -> Wave:
        """Return one random take of a digit."""
        takes = self._takes[voice, digit]
        return self.speech.wave(int(takes[rng.randrange(len(takes))]))


def speak_digits(
    speaker: DigitSpeaker, rng: random.Random, *, longest: int = 10
) -> tuple[Wave, str, Spans]:
    """Join takes of one pseudo speaker into a digit string, and tell where each take is."""
    # As recorded or merely sped up half of the time: WORLD's own sound must not become the norm.
    recorded = speaker.recorded > 0 and rng.random() < 0.4
    voice = rng.randrange(speaker.recorded if recorded else speaker.count)
    length = rng.choice([1, 2, 3, 3, 4, 4, 5, 5, 6, 7, 8, 9, 10])
    digits = [rng.choice(speaker.digits) for _ in range(min(length, longest))]
    if longest == 10 and rng.random() < 0.1:  # repeated digits
        digits = [d for d in digits[:5] for _ in range(2)]
    longest_gap = rng.choice([0.0, 0.05, 0.15, 0.3, 0.5])
    hiss = 10 ** rng.uniform(-5, -2.7) if rng.random() < 0.5 else 0.0
    pieces: list[Wave] = []
    spans: Spans = []
    jitter = rng.random() < 0.5
    threshold_db = rng.uniform(-40, -8) if rng.random() < 0.3 else None
    for i, digit in enumerate(digits):
        wave = speaker.take(rng, voice, digit)
        if threshold_db is not None:
            wave = trim(wave, threshold_db)
        if jitter:
            wave = wave * np.float32(10 ** (rng.uniform(-4, 4) / 20))
        if i:
            gap = int(rng.uniform(0, longest_gap) * RATE)
            overlap = min(int(rng.uniform(0, 0.03) * RATE), len(pieces[-1]) // 4, len(wave) // 4)
            if longest_gap == 0 and overlap > 8:
                ramp = np.linspace(0, 1, overlap, dtype=np.float32)
                wave = wave.copy()
                wave[:overlap] = wave[:overlap] * ramp + pieces[-1][-overlap:] * ramp[::-1]
                pieces[-1] = pieces[-1][:-overlap]
            elif gap:
                pieces.append(noise_like("white", gap, rng) * np.float32(hiss))
        start = sum(map(len, pieces))
        spans.append((start, start + len(wave), digit))
        pieces.append(wave)
    return np.concatenate(pieces), " ".join(texts.DIGITS[d] for d in digits), spans


def trim(wave: Wave, threshold_db: float) -> Wave:
    """Cut off the edges that are quieter than a threshold below the loudest 10 ms.

    As voice activity detectors do, and whoever recorded FSDD did: of some of its takes of "six"
    only the vowel is left.
    """
    hop = RATE // 100
    if len(wave) < 4 * hop:
        return wave
    power = (wave[: len(wave) // hop * hop].reshape(-1, hop) ** 2).mean(1)
    loud = np.flatnonzero(power > power.max() * 10 ** (threshold_db / 10))
    return wave[loud[0] * hop : (loud[-1] + 1) * hop]


_BANK: dict[str, Wave] = {}


def noise_like(color: str, count: int, rng: random.Random) -> Wave:
    """Return ``count`` samples of noise with an RMS of one, from a fixed bank of half a minute."""
    if not _BANK:
        generator = np.random.default_rng(7)
        size = 30 * RATE
        frequencies = np.fft.rfftfreq(size, 1 / RATE)
        for name, slope in (("white", 0.0), ("pink", 0.5), ("brown", 1.0)):
            spectrum = np.fft.rfft(generator.standard_normal(size))
            wave = np.fft.irfft(spectrum / np.maximum(frequencies, 30) ** slope, size)
            _BANK[name] = (wave / wave.std()).astype(np.float32)
        times = np.arange(size) / RATE
        hum = sum(np.sin(2 * np.pi * 50 * k * times + k) / k for k in range(1, 12))
        hum = hum + 0.1 * generator.standard_normal(size)
        _BANK["hum"] = (hum / np.std(hum)).astype(np.float32)
    bank = _BANK[color]
    start = rng.randrange(len(bank))
    return np.resize(np.concatenate([bank[start:], bank[:start]]), count)


def room(wave: Wave, rng: random.Random, generator: np.random.Generator) -> Wave:
    """Play the wave in a room: exponentially decaying noise after the direct sound."""
    decay = rng.uniform(0.08, 0.5)
    size = int(decay * RATE)
    tail = generator.standard_normal(size) * np.exp(-6.9 * np.arange(size) / size)
    tail[: int(rng.uniform(0.001, 0.01) * RATE)] = 0
    tail *= 10 ** (rng.uniform(-20, 0) / 20) / max(float(np.sqrt((tail**2).sum())), 1e-6)
    tail[0] = 1
    total = len(wave) + size
    fast = 1 << (total - 1).bit_length()
    out = np.fft.irfft(np.fft.rfft(wave, fast) * np.fft.rfft(tail, fast), fast)
    return out[: len(wave) + size // 3].astype(np.float32)


def equalise(wave: Wave, rng: random.Random) -> Wave:
    """Tilt and ripple the spectrum by some dB, as microphones do."""
    size = 1 << (len(wave) - 1).bit_length()
    gains = np.cumsum([0.0] + [rng.uniform(-4, 4) for _ in range(7)])
    knots = np.array([0, 200, 500, 1000, 2000, 3000, 4500, 8000])
    curve = np.interp(np.fft.rfftfreq(size, 1 / RATE), knots, gains - gains.mean())
    return np.fft.irfft(np.fft.rfft(wave, size) * 10 ** (curve / 20), size)[: len(wave)].astype(
        np.float32
    )


def mu_law(wave: Wave) -> Wave:
    """Compand to 8 bits and back (G.711 mu-law's curve)."""
    compressed = np.sign(wave) * np.log1p(255 * np.minimum(np.abs(wave), 1)) / np.log(256)
    quantised = np.round(compressed * 127) / 127
    return (np.sign(quantised) * np.expm1(np.abs(quantised) * np.log(256)) / 255).astype(np.float32)


def telephone(wave: Wave, *, companded: bool, band: bool) -> Wave:
    """Pass the wave through 8 kHz and back, as a server that resamples to 16 kHz hears it."""
    narrow = soxr.resample(wave, RATE, 8000)
    if band:
        spectrum = np.fft.rfft(narrow)
        frequencies = np.fft.rfftfreq(len(narrow), 1 / 8000)
        gain = np.clip((frequencies - 150) / 200, 0, 1) * np.clip((3700 - frequencies) / 300, 0, 1)
        narrow = np.fft.irfft(spectrum * gain, len(narrow)).astype(np.float32)
    if companded:
        narrow = mu_law(narrow)
    return np.asarray(soxr.resample(narrow, 8000, RATE), np.float32)


def add_noise(wave: Wave, noise: Wave, snr_db: float) -> Wave:
    """Add noise at a signal-to-noise ratio; the level of speech is its loud part's."""
    power = wave.astype(np.float64) ** 2
    loud = power[power > power.max() * 1e-4] if power.size else power
    level = np.sqrt(loud.mean()) if loud.size else 1e-3
    scale = level / 10 ** (snr_db / 20) / max(float(noise.std()), 1e-6)
    return (wave + noise * np.float32(scale)).astype(np.float32)


#: How often a file of takes is drawn, by the first part of its name; a person counts 1.
_SHARES = {"people": 0.5, "flite": 0.4, "accent": 0.25, "espeak": 0.12, "blend": 0.1}


class UtteranceSource:
    """Draws augmented training utterances."""

    def __init__(
        self,
        digits: list[Path],
        tts: list[Path],
        *,
        digit_share: float,
        easy_draws: int,
        seed: int,
    ) -> None:
        """Read all speech into memory; ``digit_share`` of utterances are joined FSDD takes.

        The first ``easy_draws`` utterances go from all easy (short, clean) to none.
        """
        self._easy_draws = easy_draws
        self._drawn = 0
        self._speakers = [DigitSpeaker(p) for p in digits]
        self._speaker_weights = [_SHARES.get(p.stem.split("-")[0], 1.0) for p in digits]
        self._tts = [Speech.load(p, "texts") for p in tts]
        self._weights = [len(s.ends) ** 0.7 for s in self._tts]
        self._digit_share = digit_share
        self._rng = random.Random(seed)
        self._generator = np.random.default_rng(seed)

    def draw(self) -> tuple[Wave, str, Spans]:
        """Return a waveform at 16 kHz, its text and, for joined takes, where they are."""
        rng = self._rng
        kind = rng.random()
        spans: Spans = []
        self._drawn += 1
        if rng.random() * self._easy_draws > self._drawn:
            return self._easy(kind < self._digit_share)
        if kind < 0.02:
            return self._nothing(), "", []
        if kind < 0.02 + self._digit_share:
            wave, text, spans = speak_digits(self._speaker(), rng)
        else:
            wave, text = self._synthetic()
            if rng.random() < 0.15 and len(wave) < 3 * RATE:  # two utterances, a pause between
                other, words = self._synthetic()
                if len(other) < 3 * RATE:
                    pause = np.zeros(int(rng.uniform(0.1, 0.9) * RATE), np.float32)
                    wave, text = np.concatenate([wave, pause, other]), f"{text} {words}"
            if rng.random() < 0.3:
                wave = self._change_speed(wave)
        wave, lead = self._augment(wave)
        return wave, text, [(a + lead, b + lead, digit) for a, b, digit in spans]

    def _speaker(self) -> DigitSpeaker:
        return self._rng.choices(self._speakers, self._speaker_weights)[0]

    def _easy(self, digits: bool) -> tuple[Wave, str, Spans]:
        spans: Spans = []
        if digits:
            wave, text, spans = speak_digits(self._speaker(), self._rng, longest=3)
        else:
            wave, text = self._synthetic(longest=1.3)
        wave = wave / max(float(np.abs(wave).max()), 1e-4)
        gain = np.float32(10 ** (self._rng.uniform(-15, 0) / 20))
        return np.pad(wave * gain, (0, 1600)), text, spans

    def _synthetic(self, *, longest: float = 8.0) -> tuple[Wave, str]:
        speech = self._rng.choices(self._tts, self._weights)[0]
        while True:
            index = self._rng.randrange(len(speech.ends))
            if speech.ends[index] - speech.starts[index] < longest * RATE:
                return speech.wave(index), str(speech.labels[index])

    def _change_speed(self, wave: Wave) -> Wave:
        factor = self._rng.uniform(0.88, 1.14)
        return np.asarray(soxr.resample(wave, RATE * factor, RATE), np.float32)

    def _nothing(self) -> Wave:
        count = int(self._rng.uniform(0.5, 4) * RATE)
        level = self._rng.choice([0.0, 10 ** self._rng.uniform(-4.5, -1.2)])
        return self._noise(count) * np.float32(level)

    def _noise(self, count: int) -> Wave:
        color = self._rng.choice(["white", "pink", "brown", "hum", "babble", "pink"])
        if color != "babble" or not self._tts:
            return noise_like("white" if color == "babble" else color, count, self._rng)
        babble = np.zeros(count, np.float32)
        for _ in range(5):
            speech = self._rng.choice(self._tts)
            start = self._rng.randrange(max(1, len(speech.audio) - count))
            babble += speech.audio[start : start + count] / np.float32(32768)
        return babble / max(float(babble.std()), 1e-4)

    def _augment(self, wave: Wave) -> tuple[Wave, int]:
        rng = self._rng
        if rng.random() < 0.35:
            wave = equalise(wave, rng)
        if rng.random() < 0.3:
            wave = room(wave, rng, self._generator)
        lead = int(rng.choice([0.0, rng.uniform(0, 0.8)]) * RATE)
        trail = int(rng.choice([0.0, rng.uniform(0, 0.8)]) * RATE)
        wave = np.pad(wave, (lead, trail))
        if rng.random() < 0.55:
            wave = add_noise(wave, self._noise(len(wave)), rng.uniform(5, 40))
        peak = max(float(np.abs(wave).max()), 1e-4)
        wave = wave * np.float32(10 ** (rng.uniform(-30, 0) / 20) / peak)
        channel = rng.random()
        if channel < 0.5:
            wave = telephone(wave, companded=channel < 0.2, band=channel < 0.1 or channel > 0.45)
        if rng.random() < 0.5:  # the flush of a stream: exact zeros, whatever was before
            wave = np.pad(wave, (0, int(rng.uniform(0.1, 0.7) * RATE)))
        return wave, lead

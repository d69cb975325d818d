"""Recordings the repository ships, and digit strings from the shared data where it lies."""

from __future__ import annotations

import json
import wave
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]
RECORDINGS = ROOT / "tests" / "data" / "recordings"


@dataclass(frozen=True)
class Recording:
    """Mono 16-bit audio and what is said in it."""

    name: str
    pcm: bytes
    sample_rate_hertz: int
    reference: str

    @property
    def samples(self) -> np.ndarray:
        """The audio as [n_samples] int16."""
        return np.frombuffer(self.pcm, "<i2")

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return len(self.pcm) / 2 / self.sample_rate_hertz


def read_wav(path: Path, reference: str = "") -> Recording:
    """Read a mono 16-bit WAV file."""
    with wave.open(str(path)) as file:
        if file.getnchannels() != 1 or file.getsampwidth() != 2:
            raise ValueError(f"{path.name} is not mono 16-bit PCM")
        return Recording(
            path.stem, file.readframes(file.getnframes()), file.getframerate(), reference
        )


def spoken_digits() -> list[Recording]:
    """Return the recordings of digits: what the default decoder is for."""
    return [r for r in shipped_recordings() if r.name.startswith("digits")]


def shipped_recordings() -> list[Recording]:
    """Return every recording under tests/data/recordings with its reference."""
    references = json.loads((RECORDINGS / "references.json").read_text())
    return [read_wav(RECORDINGS / name, text) for name, text in sorted(references.items())]

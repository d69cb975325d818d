"""From a detector's probabilities to stretches of speech."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

_HYSTERESIS = 0.15
"""How far below the threshold speech must fall to end (silero-vad's `VADIterator`)."""


@dataclass(frozen=True, slots=True)
class VoiceChange:
    """Somebody begins or stops to speak at a position of the stream."""

    at_samples: int
    is_speech: bool


class VoiceActivity:
    """Hysteresis over the speech probability of consecutive windows, as silero-vad applies it.

    Speech begins where the probability reaches the threshold and stays up for the shortest
    speech to believe; it ends where the probability falls `_HYSTERESIS` below the threshold.
    """

    def __init__(self, threshold: float, *, min_speech_samples: int, window_samples: int) -> None:
        """Start in silence at the stream's first sample.

        threshold: 0 to 1. window_samples: audio of each probability.
        """
        self._threshold = threshold
        self._min_speech = min_speech_samples
        self._window = window_samples
        self.restart(0)

    def restart(self, at_samples: int) -> None:
        """Go on in silence from a position, where the detector starts afresh."""
        self._at = at_samples
        self._is_speech = False
        self._rise: int | None = None

    @property
    def heard_samples(self) -> int:
        """The position up to which the detector has heard."""
        return self._at

    def push(self, probabilities: Iterable[float]) -> list[VoiceChange]:
        """Take the next windows; return the changes they make certain.

        A beginning stands where the speech began, which may be before these windows.
        """
        changes = []
        for probability in probabilities:
            start, self._at = self._at, self._at + self._window
            if self._is_speech:
                if probability < self._threshold - _HYSTERESIS:
                    self._is_speech = False
                    changes.append(VoiceChange(start, is_speech=False))
                continue
            if probability < self._threshold:
                self._rise = None
                continue
            if self._rise is None:
                self._rise = start
            if self._at - self._rise >= self._min_speech:
                self._is_speech = True
                changes.append(VoiceChange(self._rise, is_speech=True))
                self._rise = None
        return changes

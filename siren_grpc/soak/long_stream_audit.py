"""Whether a long stream stays as it is: its server's memory, its steps and its words. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from siren_grpc.soak.flatness import Series, drift, grown_beyond, growth, not_measured
from siren_grpc.soak.known_words import Hits, Word
from siren_grpc.soak.process_counts import ProcessCounts
from siren_grpc.soak.word_audit import WordAudit

_AFTER_SILENCE_S = 120.0
_WORSE_SHARE = 0.05
_WORSE_SHARE_AFTER_SILENCE = 0.15
"""Two minutes have few words."""
_MAX_ERROR_S = 0.08
_FEW_WORDS = 20
_LEAST_KNOWN_WORDS = 10
_LEAST_SHARE = 0.5
"""Before the silence: a server that hears next to nothing cannot get worse."""
_STEP, _STEP_CPU = "step", "CPU time of a step"
_WARM_UP_S = 600.0
_BEFORE, _BEHIND, _AFTER = "before the silence", "behind the silence", "after the silence"


@dataclass(slots=True)
class LongStreamReport:
    """What was found. faults: empty when the server has passed."""

    audio_s: float = 0.0
    wall_s: float = 0.0
    n_finals: int = 0
    growth_percent: dict[str, float] = field(default_factory=dict)
    words: dict[str, Hits] = field(default_factory=dict)
    """Of the stretches that are held against each other."""
    faults: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Return its figures."""
        return {
            "audio_hours": round(self.audio_s / 3600, 3),
            "wall_s": round(self.wall_s, 1),
            "finals": self.n_finals,
            "growth_percent": self.growth_percent,
            "words": {name: hits.as_json() for name, hits in self.words.items()},
        }


class LongStreamAudit:
    """Takes in what is noted of a stream as it goes, and judges it in the end.

    All times are seconds of the stream's audio, those of `step_s` and `cpu_s` apart.
    """

    def __init__(self, silence_s: tuple[float, float], *, window_s: float) -> None:
        """Start with nothing. silence_s: from, to. window_s: between two looks at the steps."""
        self._silence_s = silence_s
        self._window_s = window_s
        begin_s, end_s = silence_s
        behind_s = end_s + _AFTER_SILENCE_S
        # What comes right behind the silence is judged by itself too.
        self._spans = {
            _BEFORE: (0.0, begin_s),
            _BEHIND: (end_s, behind_s),
            _AFTER: (end_s, math.inf),
        }
        self._words = WordAudit((begin_s, end_s, behind_s))
        self._memory, self._steps = Series(), Series()
        self._before: tuple[ProcessCounts, ProcessCounts] | None = None
        self._silent_since_s = math.inf
        self._n_in_silence = 0

    def note_silence(self, at_s: float) -> None:
        """Note that the silence has begun, if it had not: behind the recording that reached it."""
        self._silent_since_s = min(self._silent_since_s, at_s)

    def note_processes(self, counts: Sequence[ProcessCounts], at_s: float) -> dict[str, float]:
        """Note what the server's processes hold, the engine's first.

        Returns the steps since the last time, their mean and its CPU time; nothing at first.
        """
        for process in counts:
            self._memory.note(f"memory of the {process.name}", at_s, process.use.own_bytes)
        engine = counts[0]
        front_end = max(counts[1:], key=lambda process: process.count("steps"))
        before, self._before = self._before, (engine, front_end)
        if before is None:
            return {}
        engine_before, front_end_before = before
        steps = front_end.count("steps") - front_end_before.count("steps")
        if steps <= 0:
            return {}
        step_s = (front_end.count("step_s") - front_end_before.count("step_s")) / steps
        cpu_s = (engine.use.cpu_s - engine_before.use.cpu_s) / steps
        begin_s, end_s = self._silence_s
        # Silence has steps of its own: less to decode.
        if not begin_s <= at_s <= end_s + self._window_s:
            self._steps.note(_STEP, at_s, step_s)
            self._steps.note(_STEP_CPU, at_s, cpu_s)
        return {
            "steps": steps,
            "step_ms": round(1000 * step_s, 4),
            "step_cpu_ms": round(1000 * cpu_s, 4),
        }

    def expect(self, words: Iterable[Word]) -> None:
        """Take words that are played. They come in the order of their starts."""
        self._words.expect(words)

    def hear(self, words: Sequence[Word]) -> None:
        """Take words of finals. They come in the order of their starts."""
        begin_s, end_s = self._silent_since_s, self._silence_s[1]
        self._n_in_silence += sum(begin_s + 1 < word.start_s < end_s - 1 for word in words)
        self._words.hear(words)

    def look_up(self, until_s: float) -> Hits:
        """Look up the words before a time that were not looked up yet."""
        return self._words.look_up(until_s)

    def judge(
        self, report: LongStreamReport, *, memory_percent: float, step_percent: float
    ) -> None:
        """Add to a report what has grown, which words were found, and what is wrong with that.

        memory_percent, step_percent: by how much memory and steps may grow.
        """
        since = min(_WARM_UP_S, report.audio_s / 4)
        memory = self._memory.percents(growth, since=since)
        steps = self._steps.percents(drift, since=since)
        report.growth_percent = {
            name: round(percent, 3) for name, percent in {**memory, **steps}.items()
        }
        report.faults += grown_beyond(memory, memory_percent) + grown_beyond(steps, step_percent)
        report.faults += not_measured(self._memory.names or ["memory"], memory)
        report.faults += not_measured((_STEP, _STEP_CPU), steps)
        if self._n_in_silence:
            report.faults.append(f"{self._n_in_silence} words were heard in the silence")
        report.words = {name: self._words.between(*span) for name, span in self._spans.items()}
        report.faults += _few_words(report.words[_BEFORE])
        report.faults += self._worse_words(report.words) + self._misplaced_words()

    def _worse_words(self, words: dict[str, Hits]) -> list[str]:
        first = words[_BEFORE]
        bounds = {_BEHIND: _WORSE_SHARE_AFTER_SILENCE, _AFTER: _WORSE_SHARE}
        return [
            f"{name} {hits.share:.1%} of the words were found, before it {first.share:.1%}"
            for name, worse in bounds.items()
            if (hits := words[name]).known and hits.share < first.share - worse
        ]

    def _misplaced_words(self) -> list[str]:
        return [
            f"words before {at:.0f} s are off by {error:+.3f} s"
            for at, hits in self._words.stretches
            if (error := hits.median_error_s) is not None
            and hits.found >= _FEW_WORDS
            and abs(error) > _MAX_ERROR_S
        ]


def _few_words(first: Hits) -> list[str]:
    if first.known < _LEAST_KNOWN_WORDS:
        return [
            f"{first.known} words were played {_BEFORE}, by what was heard of the recordings "
            f"alone: {_LEAST_KNOWN_WORDS} are needed"
        ]
    if first.share < _LEAST_SHARE:
        return [f"{_BEFORE} {first.share:.1%} of the words were found: {_LEAST_SHARE:.0%} are due"]
    return []

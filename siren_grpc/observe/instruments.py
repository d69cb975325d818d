"""Counters, gauges and histograms of one process: plain numbers, written by one thread.

A front end counts per message and the stepper per step, where `prometheus_client`'s own
instruments would take a lock each time. These take none: one thread writes, any may read, and a
reader may see a step half counted, never a wrong sum.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias, TypeVar


class MetricKind(str, Enum):
    """What a number means to Prometheus."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric as it is declared and documented.

    help: with the unit. labels: names; none grows with the number of sessions. buckets: ascending
    upper bounds of a histogram; one for everything above is added. is_everywhere: False for what
    only some machines have, a GPU for instance: it is absent elsewhere, never zero.
    """

    name: str
    kind: MetricKind
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    is_everywhere: bool = True


@dataclass(frozen=True, slots=True)
class HistogramState:
    """What a histogram has seen. counts: of each bucket by itself, the last without bound."""

    counts: tuple[int, ...]
    total: float


LabelValues: TypeAlias = tuple[str, ...]
Snapshot: TypeAlias = dict[tuple[str, LabelValues], "float | HistogramState"]
"""What a process has counted, by metric's name and values of its labels."""


class Number:
    """A counter or a gauge: write `value`."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        """Start at 0."""
        self.value = 0.0


class Histogram:
    """Counts values by bucket."""

    __slots__ = ("_bounds", "_counts", "_total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        """Start empty. bounds: ascending."""
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._total = 0.0

    def observe(self, value: float) -> None:
        """Count a value; one that equals a bound belongs below it."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._total += value

    @property
    def total(self) -> float:
        """Sum of all values."""
        return self._total

    def read(self) -> HistogramState:
        """Return what was counted so far."""
        return HistogramState(tuple(self._counts), self._total)


_Instrument = TypeVar("_Instrument", Number, Histogram)


class Tally:
    """The instruments of one writer. They exist, and are exported, from when they are asked for."""

    def __init__(self) -> None:
        """Start without any."""
        self._instruments: dict[tuple[str, LabelValues], Number | Histogram] = {}

    def number(self, metric: Metric, *labels: str) -> Number:
        """Return the counter or gauge of these values of the metric's labels."""
        found = self._instruments.get((metric.name, labels))
        if found is None:
            found = self._add(metric, labels, Number())
        if not isinstance(found, Number):
            raise AssertionError(f"{metric.name} is a histogram")
        return found

    def histogram(self, metric: Metric, *labels: str) -> Histogram:
        """Return the histogram of these values of the metric's labels."""
        found = self._instruments.get((metric.name, labels))
        if found is None:
            found = self._add(metric, labels, Histogram(metric.buckets))
        if not isinstance(found, Histogram):
            raise AssertionError(f"{metric.name} is no histogram")
        return found

    def read(self) -> Snapshot:
        """Return all numbers as they are now; from any thread."""
        return {
            key: instrument.read() if isinstance(instrument, Histogram) else instrument.value
            for key, instrument in list(self._instruments.items())
        }

    def _add(self, metric: Metric, labels: LabelValues, instrument: _Instrument) -> _Instrument:
        if len(labels) != len(metric.labels):
            raise AssertionError(f"{metric.name} has the labels {metric.labels}, not {labels}")
        if isinstance(instrument, Histogram) != (metric.kind is MetricKind.HISTOGRAM):
            raise AssertionError(f"{metric.name} is a {metric.kind.value}")
        self._instruments[metric.name, labels] = instrument
        return instrument


def add_up(snapshots: list[Snapshot]) -> Snapshot:
    """Return the sums over several processes."""
    sums: Snapshot = {}
    for snapshot in snapshots:
        for key, value in snapshot.items():
            before = sums.get(key)
            if before is None:
                sums[key] = value
            elif isinstance(before, HistogramState) and isinstance(value, HistogramState):
                counts = tuple(a + b for a, b in zip(before.counts, value.counts, strict=True))
                sums[key] = HistogramState(counts, before.total + value.total)
            elif isinstance(before, float | int) and isinstance(value, float | int):
                sums[key] = before + value
    return sums

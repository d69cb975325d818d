"""Metrics as Prometheus reads them, over HTTP.

`prometheus_client` writes the text (Prometheus and OpenMetrics, as the scraper asks) and answers,
in threads of its own: a scrape never waits for an event loop, nor one for it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from siren_grpc.observe.instruments import (
    HistogramState,
    Metric,
    MetricKind,
    Snapshot,
    Tally,
    add_up,
)
from siren_grpc.observe.metrics import ALL, COLLECT_FAILURES

_log = logging.getLogger(__name__)


class Exposition(Collector):
    """Collects what sources have counted whenever somebody asks."""

    def __init__(self, sources: Mapping[str, Callable[[], Snapshot]]) -> None:
        """Start with the sources there are, by name; called in the scraper's thread.

        One that fails is left out of the answer, counted, and told to the log once.
        """
        self._sources = dict(sources)
        self._failed: set[str] = set()
        self._failures = Tally()
        for name in self._sources:
            self._failures.number(COLLECT_FAILURES, name)

    def collect(self) -> Iterable[Family]:
        """See `prometheus_client.registry.Collector`."""
        snapshots = []
        for name, read in self._sources.items():
            try:
                snapshots.append(read())
            except Exception:
                self._failures.number(COLLECT_FAILURES, name).value += 1
                if name not in self._failed:
                    self._failed.add(name)
                    _log.exception("metrics of %s cannot be read; they are left out", name)
        numbers = add_up([*snapshots, self._failures.read()])
        by_name: dict[str, list[tuple[tuple[str, ...], float | HistogramState]]] = {}
        for (name, labels), value in numbers.items():
            by_name.setdefault(name, []).append((labels, value))
        for metric in ALL:
            if metric.name in by_name:
                yield _family(metric, by_name[metric.name])

    def describe(self) -> Iterable[Family]:
        """Name nothing beforehand: what there is depends on the machine."""
        return ()


class MetricsServer:
    """Answers `GET /metrics` until it is closed."""

    def __init__(self, exposition: Exposition, host: str, port: int) -> None:
        """Listen. port: 0 lets the system choose. Raises OSError when it cannot be bound."""
        registry = CollectorRegistry()
        registry.register(exposition)
        self._server, self._thread = start_http_server(port, addr=host, registry=registry)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_port)

    def close(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _family(metric: Metric, rows: list[tuple[tuple[str, ...], float | HistogramState]]) -> Family:
    if metric.kind is MetricKind.HISTOGRAM:
        histogram = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
        for labels, value in rows:
            if isinstance(value, HistogramState):
                histogram.add_metric(labels, _cumulative(metric.buckets, value), value.total)
        return histogram
    kind = CounterMetricFamily if metric.kind is MetricKind.COUNTER else GaugeMetricFamily
    family = kind(metric.name, metric.help, labels=metric.labels)
    for labels, value in rows:
        if not isinstance(value, HistogramState):
            family.add_metric(labels, value)
    return family


def _cumulative(bounds: tuple[float, ...], state: HistogramState) -> list[tuple[str, float]]:
    rows, count = [], 0
    for bound, n in zip((*map(str, bounds), "+Inf"), state.counts, strict=True):
        count += n
        rows.append((bound, float(count)))
    return rows

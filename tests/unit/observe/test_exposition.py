from __future__ import annotations

import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families

from siren_grpc.observe.exposition import Exposition, MetricsServer
from siren_grpc.observe.instruments import Snapshot, Tally
from siren_grpc.observe.metrics import FINAL_LATENCY, SERVING, SESSIONS_ACTIVE


def scrape(server: MetricsServer, accept: str = "text/plain") -> str:
    request = urllib.request.Request(
        f"http://127.0.0.1:{server.port}/metrics", headers={"Accept": accept}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.read().decode()


def test_prometheus_reads_what_was_counted() -> None:
    tally = Tally()
    tally.number(SESSIONS_ACTIVE, "a").value = 3
    for latency in (0.02, 0.02, 9.0):
        tally.histogram(FINAL_LATENCY, "a", "live").observe(latency)
    server = MetricsServer(Exposition({"counts": tally.read}), "127.0.0.1", 0)
    try:
        families = {f.name: f for f in text_string_to_metric_families(scrape(server))}
        open_metrics = scrape(server, "application/openmetrics-text; version=1.0.0")
    finally:
        server.close()
    assert families["siren_sessions_active"].samples[0].value == 3
    buckets = {
        s.labels["le"]: s.value
        for s in families["siren_final_latency_seconds"].samples
        if s.name.endswith("_bucket")
    }
    assert (buckets["0.01"], buckets["0.025"], buckets["5.0"], buckets["+Inf"]) == (0, 2, 2, 3)
    assert open_metrics.endswith("# EOF\n")


def test_a_broken_source_costs_its_own_numbers_only(caplog: pytest.LogCaptureFixture) -> None:
    tally = Tally()
    tally.number(SERVING).value = 1

    def broken() -> Snapshot:
        raise RuntimeError("the driver is gone")

    server = MetricsServer(Exposition({"device": broken, "counts": tally.read}), "127.0.0.1", 0)
    try:
        scrape(server)
        text = scrape(server)
    finally:
        server.close()
    assert "siren_serving 1.0" in text
    assert 'siren_collect_failures_total{source="device"} 2.0' in text
    assert 'siren_collect_failures_total{source="counts"} 0.0' in text
    assert [record.message for record in caplog.records].count(
        "metrics of device cannot be read; they are left out"
    ) == 1

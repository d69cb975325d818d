"""The metrics that are declared, the page about them, the dashboard and the alerts agree."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

from siren_grpc.observe.instruments import MetricKind
from siren_grpc.observe.metrics import ALL

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/observability.md").read_text(encoding="utf-8")
ALERTS = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yaml").read_text(encoding="utf-8"))
DASHBOARD = json.loads((ROOT / "deploy/grafana/siren.json").read_text(encoding="utf-8"))
_STRINGS = re.compile(r'"[^"]*"')
_NAME = re.compile(r"\bsiren_\w+")
_SELECTOR = re.compile(r"(\bsiren_\w+)\{([^}]*)\}")
_BY = re.compile(r"\bby \(([^)]*)\)")
FROM_THE_SCRAPER = {"instance", "job", "le"}


def exported() -> dict[str, set[str]]:
    """Return the labels of every sample there can be, by its name."""
    found = {}
    for metric in ALL:
        endings = ("_bucket", "_sum", "_count") if metric.kind is MetricKind.HISTOGRAM else ("",)
        found.update({metric.name + ending: set(metric.labels) for ending in endings})
    return found


def queries(panels: list[dict[str, Any]]) -> list[str]:
    return [target["expr"] for panel in panels for target in panel.get("targets", ())]


def check(query: str) -> None:
    names = _NAME.findall(_STRINGS.sub("", query))
    assert names, f"no metric in {query}"
    for name in names:
        assert name in exported(), f"{name} is no metric: {query}"
    labels = set().union(*(exported()[name] for name in names)) | FROM_THE_SCRAPER
    for _, selector in _SELECTOR.findall(query):
        for part in re.findall(r"(\w+)\s*[=!]", _STRINGS.sub('""', selector)):
            assert part in labels, f"{part} is no label: {query}"
    for group in _BY.findall(query):
        for label in group.split(","):
            assert label.strip() in labels, f"{label} is no label: {query}"
    assert query.count("(") == query.count(")")


def test_names_and_help_keep_the_conventions() -> None:
    names = [metric.name for metric in ALL]
    assert len(names) == len(set(names))
    for metric in ALL:
        assert re.fullmatch(r"siren_[a-z_]+", metric.name)
        assert metric.name.endswith("_total") == (metric.kind is MetricKind.COUNTER)
        assert metric.help.endswith(".")
        assert bool(metric.buckets) == (metric.kind is MetricKind.HISTOGRAM)
        assert list(metric.buckets) == sorted(metric.buckets)
        assert not set(metric.labels) & {"session_id", "request_id", "peer", "principal", "le"}


def test_every_metric_is_documented_and_every_documented_one_exists() -> None:
    rows = re.findall(r"^\| `(siren_\w+)` \|", PAGE, flags=re.MULTILINE)
    assert rows == [metric.name for metric in ALL]
    for name in _NAME.findall(PAGE):
        known = name in exported() or name in {metric.name for metric in ALL}
        assert known or name == "siren_grpc" or name == "siren_sessions", name


def test_the_dashboard_asks_for_what_is_there() -> None:
    asked = queries(DASHBOARD["panels"])
    asked += [annotation["expr"] for annotation in DASHBOARD["annotations"]["list"]]
    assert len(asked) > 30
    for query in asked:
        check(query)
    shown = set(_NAME.findall(" ".join(asked)))
    unseen = {
        metric.name
        for metric in ALL
        if not {metric.name + ending for ending in ("", "_bucket", "_sum")} & shown
    }
    assert unseen == {"siren_front_ends", "siren_step_workers", "siren_collect_failures_total"}
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))


def test_the_alerts_ask_for_what_is_there_and_say_what_to_do() -> None:
    rules = [rule for group in ALERTS["groups"] for rule in group["rules"]]
    assert len(rules) > 8
    for rule in rules:
        if rule["alert"] != "SirenDown":  # of the scraper's own `up`
            check(rule["expr"])
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert f"\n### {rule['alert']}\n" in PAGE
        assert rule["annotations"]["runbook_url"].endswith(f"#{rule['alert'].lower()}")

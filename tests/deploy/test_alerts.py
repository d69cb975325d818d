"""Prometheus itself, by `promtool test rules`: each alert fires for what it is about, and only it.

A server that is well for ten hours is the ground; each case changes one series of it.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

from tests.support.audio import ROOT
from tests.support.programs import needs_program

ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yaml"
NAMES = {r["alert"] for g in yaml.safe_load(ALERTS.read_text())["groups"] for r in g["rules"]}

#: Samples once a minute, as promtool notes them: FIRST+STEPxCOUNT. Calls and steps: 1 a second.
WELL = {
    'up{job="siren"}': "1x600",
    "siren_serving": "1x600",
    "siren_start_time_seconds": "0x600",
    'siren_sessions_active{model="m"}': "200x600",
    'siren_sessions_capacity{model="m"}': "256x600",
    'siren_admissions_refused_total{cause="sessions"}': "0x600",
    'siren_admissions_refused_total{cause="draining"}': "0+60x600",
    "siren_step_utilization_ratio": "0.8x600",
    'siren_oldest_chunk_age_seconds{process="front_end_1"}': "1x600",
    'siren_final_latency_seconds_bucket{model="m",kind="live",le="0.5"}': "0+60x600",
    'siren_final_latency_seconds_bucket{model="m",kind="live",le="2.5"}': "0+60x600",
    'siren_final_latency_seconds_bucket{model="m",kind="live",le="+Inf"}': "0+60x600",
    # A recording's final comes when all of it is recognised, however long that takes.
    'siren_final_latency_seconds_bucket{model="m",kind="recording",le="0.5"}': "0x600",
    'siren_final_latency_seconds_bucket{model="m",kind="recording",le="2.5"}': "0x600",
    'siren_final_latency_seconds_bucket{model="m",kind="recording",le="+Inf"}': "0+60x600",
    'siren_calls_total{outcome="OK"}': "0+60x600",
    'siren_calls_total{outcome="INVALID_AUDIO"}': "0+60x600",
    'siren_calls_total{outcome="INTERNAL_ERROR"}': "0x600",
    'siren_calls_total{outcome="AUTH_FAILED"}': "0+60000x600",
    'siren_calls_total{method="ListModels",outcome="OK"}': "0+60000x600",
    'siren_step_rows_failed_total{model="m",cause="model"}': "0x600",
    "siren_front_end_deaths_total": "0x600",
    'siren_event_loop_lag_seconds_bucket{process="front_end_1",le="0.05"}': "0+60x600",
    'siren_event_loop_lag_seconds_bucket{process="front_end_1",le="0.5"}': "0+60x600",
    'siren_event_loop_lag_seconds_bucket{process="front_end_1",le="+Inf"}': "0+60x600",
    'siren_process_resident_memory_bytes{process="engine"}': "1e9+100000x600",
    'siren_device_memory_used_bytes{device="cuda:0"}': "70e9x600",
    'siren_device_memory_total_bytes{device="cuda:0"}': "80e9x600",
    'siren_collect_failures_total{source="device"}': "0x600",
}

#: Alert, the series that changes, its samples, when the alert fires, when it does not yet.
CASES = [
    ("SirenDown", 'up{job="siren"}', "0x600", "1m", "0m"),
    ("SirenNotServing", "siren_serving", "0x600", "15m", "14m"),
    ("SirenNearlyFull", 'siren_sessions_active{model="m"}', "240x600", "5m", "4m"),
    (
        "SirenRefusesSessions",
        'siren_admissions_refused_total{cause="sessions"}',
        "0+12x600",
        "8m",
        "2m",
    ),
    ("SirenSaturated", "siren_step_utilization_ratio", "0.95x600", "5m", "4m"),
    (
        "SirenFallsBehind",
        'siren_oldest_chunk_age_seconds{process="front_end_1"}',
        "3x600",
        "1m",
        "0m",
    ),
    (
        "SirenFinalsLate",  # two in a hundred are later than the bucket
        'siren_final_latency_seconds_bucket{model="m",kind="live",le="0.5"}',
        "0+58.8x600",
        "11m",
        "9m",
    ),
    ("SirenErrors", 'siren_calls_total{outcome="INTERNAL_ERROR"}', "0+3x600", "6m", "4m"),
    (
        "SirenStepsFail",  # one, once
        'siren_step_rows_failed_total{model="m",cause="model"}',
        "0x30 1x570",
        "33m",
        "29m",
    ),
    ("SirenFrontEndDied", "siren_front_end_deaths_total", "0x30 1x570", "33m", "29m"),
    (
        "SirenFrontEndLags",
        'siren_event_loop_lag_seconds_bucket{process="front_end_1",le="0.05"}',
        "0+58.8x600",
        "7m",
        "4m",
    ),
    (
        "SirenMemoryGrows",  # 600 MB a day
        'siren_process_resident_memory_bytes{process="engine"}',
        "1e9+420000x600",
        "8h",
        "6h30m",
    ),
    (
        "SirenGpuMemoryLow",
        'siren_device_memory_used_bytes{device="cuda:0"}',
        "78e9x600",
        "5m",
        "4m",
    ),
    (
        "SirenMetricsIncomplete",
        'siren_collect_failures_total{source="device"}',
        "0x30 1x570",
        "33m",
        "29m",
    ),
]


def firing(series: dict[str, str], expected: dict[str, list[str]], folder: Path) -> None:
    """Let promtool judge which alerts fire. expected: names by moment ("5m")."""
    program = needs_program("promtool", "prometheus")
    judged = [
        {
            "expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
            "eval_time": moment,
            "exp_samples": [{"labels": f'{{alertname="{name}"}}', "value": 1} for name in names],
        }
        for moment, names in expected.items()
    ]
    file = folder / "alerts.test.yaml"
    test = {
        "interval": "1m",
        "input_series": [{"series": s, "values": v} for s, v in series.items()],
        "promql_expr_test": judged,
    }
    content = {"rule_files": [str(ALERTS)], "evaluation_interval": "1m", "tests": [test]}
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    done = subprocess.run([program, "test", "rules", str(file)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_nothing_fires_while_all_is_well(tmp_path: Path) -> None:
    firing(WELL, {"5m": [], "1h": [], "9h": []}, tmp_path)


@pytest.mark.parametrize(
    ("alert", "series", "samples", "fires_at", "not_yet_at"), CASES, ids=[c[0] for c in CASES]
)
def test_it_fires_and_nothing_else_does(
    alert: str, series: str, samples: str, fires_at: str, not_yet_at: str, tmp_path: Path
) -> None:
    assert series in WELL
    firing(WELL | {series: samples}, {not_yet_at: [], fires_at: [alert]}, tmp_path)


def test_a_server_that_drains_as_the_examples_do_is_well(tmp_path: Path) -> None:
    examples = (ROOT / "deploy" / "helm" / "siren" / "examples").glob("*.yaml")
    graces_s = [
        yaml.safe_load(file.read_text(encoding="utf-8")).get("drain", {}).get("graceSeconds", 60)
        for file in examples
    ]
    minutes = max(graces_s) // 60 + 1
    assert minutes > 10
    firing(WELL | {"siren_serving": f"1x60 0x{minutes} 1x600"}, {"60m": [], "72m": []}, tmp_path)


def test_each_alert_has_its_case() -> None:
    assert {case[0] for case in CASES} == NAMES


@pytest.mark.parametrize("file", [ROOT / "deploy" / "compose" / "prometheus.yaml"])
def test_prometheus_takes_its_configuration(file: Path) -> None:
    program = needs_program("promtool", "prometheus")
    checked = subprocess.run(
        [program, "check", "config", "--syntax-only", str(file)], capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stderr

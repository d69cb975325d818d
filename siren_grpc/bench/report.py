"""JSON files and tables of the benchmarks."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from rich.table import Table

from siren_grpc.bench.machine import describe_machine


def new_report(kind: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Start a report: what was measured, how, when and on what."""
    return {
        "benchmark": kind,
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d"),
        "machine": describe_machine(),
        "settings": settings,
    }


def save(report: dict[str, Any], path: Path | None) -> None:
    """Write a report as JSON, floats to five digits; nothing without a path."""
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(_rounded(report), indent=1) + "\n", encoding="utf-8")


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(item) for item in value]
    return value


def engine_table(report: dict[str, Any]) -> Table:
    """Lay out `siren bench engine`."""
    table = Table(title="Engine: one step of a batch, milliseconds")
    columns = "decoder,streams,contestant,median,p95,p99,CPU,real-time streams,time / siren,state"
    for name in columns.split(","):
        table.add_column(name, justify="left" if name in ("decoder", "contestant") else "right")
    for run in report["runs"]:
        for batch in run["batches"]:
            for name, found in batch["contestants"].items():
                step, state = found["step_ms"], found["session_bytes"]
                ratio = found["times_slower_than_siren"]
                table.add_row(
                    run["decoder"],
                    str(batch["streams"]),
                    name,
                    f"{step['p50']:.1f}",
                    f"{step['p95']:.1f}",
                    f"{step['p99']:.1f}",
                    f"{found['cpu_ms']['p50']:.1f}",
                    f"{found['real_time_streams']:.0f}",
                    "" if ratio is None else f"{ratio:.2f}",
                    "" if state is None else f"{state / 1024:.0f} KiB",
                )
            table.add_section()
    return table


def server_table(report: dict[str, Any]) -> Table:
    """Lay out `siren bench server`."""
    table = Table(title="Server: streams in real time over gRPC, latencies in milliseconds")
    for name in ("", "streams", "partial p50", "p95", "p99", "final p50", "p95", "p99"):
        table.add_column(name, justify="right")
    for name in ("late", "errors", "server CPU", "RSS", "generator lag p99", "held"):
        table.add_column(name, justify="right")
    for rung in [*report["rungs"], *report["empty_handler"]]:
        server = rung["server"]
        table.add_row(
            "empty handler" if rung["is_empty_handler"] else "siren",
            str(rung["streams"]),
            *_latencies(rung["partial_ms"]),
            *_latencies(rung["final_ms"]),
            str(rung["late_streams"]),
            str(sum(rung["errors"].values())),
            "" if server["cpu_cores"] is None else f"{server['cpu_cores']:.2f} cores",
            "" if server["rss_bytes"] is None else f"{server['rss_bytes'] / 2**20:.0f} MiB",
            f"{rung['generator']['lag_ms']['p99']:.1f}",
            "yes" if rung["held"] else "; ".join(rung["reasons"]),
        )
    return table


def _latencies(found: dict[str, float] | None) -> list[str]:
    if found is None:
        return ["", "", ""]
    return [f"{found[name]:.0f}" for name in ("p50", "p95", "p99")]


def long_table(report: dict[str, Any]) -> Table:
    """Lay out `siren bench long`."""
    table = Table(title=f"One stream of {report['audio_s'] / 3600:.2f} h of audio")
    for name in ("", "minute 1", "last minute", "difference"):
        table.add_column(name, justify="right")
    for name, unit, scale in (
        ("step_ms", "ms", 1.0),
        ("rss_bytes", "MiB", 2.0**20),
        ("state_bytes", "KiB", 1024.0),
    ):
        row = report["change"][name]
        if row["first"] is None:
            continue
        table.add_row(
            name.partition("_")[0],
            f"{row['first'] / scale:.2f} {unit}",
            f"{row['last'] / scale:.2f} {unit}",
            f"{row['percent']:+.1f} %",
        )
    return table

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
    """Write a report as JSON, floats to five digits; nothing without a path. Raises OSError."""
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


def engine_tables(report: dict[str, Any]) -> list[Table]:
    """Lay out `siren bench engine`, a table for each decoder."""
    tables = []
    for run in report["runs"]:
        table = Table(title=f"Engine: one step of a batch, {run['decoder']}, milliseconds")
        table.add_column("streams", justify="right")
        table.add_column("contestant", no_wrap=True)
        for name in ("p50", "p95", "p99", "CPU", "real time", "time/siren", "CPU/siren", "KiB"):
            table.add_column(name, justify="right")
        for batch in run["batches"]:
            own_cpu = batch["contestants"]["siren"]["cpu_ms"]["p50"]
            for name, found in batch["contestants"].items():
                step, state = found["step_ms"], found["session_bytes"]
                ratio, cpu = found["times_slower_than_siren"], found["cpu_ms"]["p50"]
                table.add_row(
                    str(batch["streams"]),
                    name,
                    *(f"{step[percent]:.1f}" for percent in ("p50", "p95", "p99")),
                    f"{cpu:.1f}",
                    f"{found['real_time_streams_median']:.0f}",
                    "" if ratio is None else f"{ratio:.2f}",
                    f"{cpu / own_cpu:.2f}",
                    "" if state is None else f"{state / 1024:.0f}",
                )
            table.add_section()
        tables.append(table)
    return tables


def server_table(report: dict[str, Any]) -> Table:
    """Lay out `siren bench server`."""
    table = Table(
        title="Server: streams in real time over gRPC; latencies p50/p95/p99 in ms",
        caption="added: p99 of partials over the mean step",
        padding=0,  # or 80 characters would not hold the figures
    )
    for name in ("streams", "partials", "added", "finals", "late", "errors", "CPU", "MiB", "lag"):
        table.add_column(name, justify="right")
    table.add_column("held")
    for rung in [*report["rungs"], *report["empty_handler"]]:
        server, lag_ms = rung["server"], rung["generator"]["lag_ms"]
        name = " (empty handler)" if rung["is_empty_handler"] else ""
        added_ms = rung.get("added_ms")  # absent from reports of earlier versions
        table.add_row(
            f"{rung['streams']}{name}",
            _latencies(rung["partial_ms"]),
            "" if added_ms is None else f"{added_ms['p99']:.0f}",
            _latencies(rung["final_ms"]),
            str(rung["late_streams"]),
            str(sum(rung["errors"].values())),
            "" if server["cpu_cores"] is None else f"{server['cpu_cores']:.2f}",
            "" if server["rss_bytes"] is None else f"{server['rss_bytes'] / 2**20:.0f}",
            "" if lag_ms is None else f"{lag_ms['p99']:.1f}",
            "yes" if rung["held"] else "; ".join(rung["reasons"]),
        )
    return table


def _latencies(found: dict[str, float] | None) -> str:
    if found is None:
        return "none"
    return "/".join(f"{found[name]:.0f}" for name in ("p50", "p95", "p99"))


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
        table.add_row(
            name.partition("_")[0],
            f"{row['first'] / scale:.2f} {unit}",
            f"{row['last'] / scale:.2f} {unit}",
            f"{row['percent']:+.1f} %",
        )
    return table

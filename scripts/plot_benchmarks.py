"""Draw docs/figures/bench-*.svg and the tables of docs/benchmarks.md from docs/benchmarks/*.json.

`make docs` runs it. With --check: fail when a figure or table is stale.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from line_chart import Line, Panel, draw

DOCS = Path(__file__).parent.parent / "docs"
RESULTS, FIGURES, PAGE = DOCS / "benchmarks", DOCS / "figures", DOCS / "benchmarks.md"
NAMES = {
    "siren": "Siren",
    "siren as served": "Siren, as served",
    "bare loop": "bare loop",
    "nemo cache-aware": "NeMo cache-aware",
    "nemo buffered": "NeMo buffered",
}

Report = dict[str, Any]


def engine_lines(run: Report, value: str) -> list[Line]:
    """Return one line for each contestant over the number of streams."""
    found: dict[str, list[tuple[float, float]]] = {}
    for batch in run["batches"]:
        for name, result in batch["contestants"].items():
            y = result["step_ms"]["p50"] if value == "step_ms" else result[value]
            found.setdefault(name, []).append((batch["streams"], y))
    return [Line(NAMES[name], points) for name, points in found.items()]


def engine_figures(report: Report) -> dict[str, str]:
    """Draw streams in real time, and step time, against the batch."""
    capacity, steps = [], []
    for run in report["runs"]:
        decoder, x_label = run["decoder"].upper(), "streams in a batch"
        lines = engine_lines(run, "real_time_streams_median")
        title = f"Streams in real time, {decoder} (more is better)"
        capacity.append(Panel(title, x_label, "streams", lines, is_log_x=True, is_log_y=True))
        lines = engine_lines(run, "step_ms")
        title = f"Median step, {decoder} (less is better)"
        steps.append(Panel(title, x_label, "milliseconds", lines, is_log_x=True, is_log_y=True))
    return {"bench-streams": draw(capacity), "bench-step": draw(steps)}


def engine_table(report: Report) -> list[str]:
    """Write the comparison of the engine."""
    lines = [
        "| decoder | streams | contestant | median ms | p95 | p99 | CPU ms | real-time streams "
        "| time / Siren | CPU / Siren | state a session | other words than Siren |",
        "| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for run in report["runs"]:
        for batch in run["batches"]:
            own_cpu = batch["contestants"]["siren"]["cpu_ms"]["p50"]
            for name, found in batch["contestants"].items():
                cpu = found["cpu_ms"]["p50"]
                step, state = found["step_ms"], found["session_bytes"]
                differs = batch["different_words"].get(name)
                words = "" if differs is None else f"{differs} of {batch['streams']}"
                kept = "" if state is None else f"{state / 1024:.0f} KiB"
                lines.append(
                    f"| {run['decoder']} | {batch['streams']} | {NAMES[name]} | {step['p50']:.1f} "
                    f"| {step['p95']:.1f} | {step['p99']:.1f} | {cpu:.1f} "
                    f"| {found['real_time_streams_median']:.0f} "
                    f"| {found['times_slower_than_siren']:.2f} | {cpu / own_cpu:.2f} "
                    f"| {kept} | {words} |"
                )
    return lines


def server_figures(report: Report) -> dict[str, str]:
    """Draw latency against the number of streams."""
    panels = []
    for key, what in (("partial_ms", "Partials"), ("final_ms", "Finals")):
        lines = []
        for share in ("p50", "p95", "p99"):
            points = [(r["streams"], max(r[key][share], 0.1)) for r in report["rungs"] if r[key]]
            if points:
                lines.append(Line(share, points))
        bound = report["settings"]["bound_ms"]
        title = f"{what}: latency over gRPC (dashed: bound of p95)"
        panels.append(
            Panel(title, "streams in real time", "milliseconds", lines, True, True, bound)
        )
    return {"bench-server": draw(panels)}


def short(milliseconds: float) -> str:
    """Write a latency with two digits or more."""
    return f"{milliseconds:.0f}" if milliseconds >= 10 else f"{milliseconds:.1f}"


def server_table(report: Report) -> list[str]:
    """Write the rungs of the server."""
    rungs = [*report["rungs"], *report["empty_handler"]]
    has_added = any(rung.get("added_ms") for rung in rungs)  # not in reports of earlier versions
    lines = [
        "| server | streams | partial p50 / p95 / p99 ms "
        + ("| p99 over the mean step " if has_added else "")
        + "| final p50 / p95 / p99 ms | late streams | errors | server CPU, cores | RSS MiB "
        "| messages/s in, out | generator lag p99 ms | held |",
        "| --- | " + (10 if has_added else 9) * "---: | " + "--- |",
    ]
    for rung in rungs:
        server, messages = rung["server"], rung["messages_per_s"]
        lag_ms = rung["generator"]["lag_ms"]
        added_ms = rung.get("added_ms")
        added = f"| {short(added_ms['p99']) if added_ms else ''} " if has_added else ""
        latencies = [
            " / ".join(short(found[p]) for p in ("p50", "p95", "p99")) if found else "none"
            for found in (rung["partial_ms"], rung["final_ms"])
        ]
        name = "empty handler" if rung["is_empty_handler"] else "Siren"
        cpu, rss = server["cpu_cores"], server["rss_bytes"]
        lines.append(
            f"| {name} | {rung['streams']} | {latencies[0]} "
            f"{added}| {latencies[1]} "
            f"| {rung['late_streams']} | {sum(rung['errors'].values())} "
            f"| {'' if cpu is None else f'{cpu:.2f}'} "
            f"| {'' if rss is None else f'{rss / 2**20:.0f}'} "
            f"| {messages['sent']:.0f}, {messages['received']:.0f} "
            f"| {'' if lag_ms is None else format(lag_ms['p99'], '.1f')} "
            f"| {'yes' if rung['held'] else ', '.join(rung['reasons'])} |"
        )
    bound = report["settings"]["bound_ms"]
    lines += ["", f"Most streams that held p95 under {bound:.0f} ms: **{report['largest_held']}**."]
    return lines


def long_figures(report: Report) -> dict[str, str]:
    """Draw step time and memory over hours."""
    hours = [minute["at_s"] / 3600 for minute in report["minutes"]]
    panels = []
    for title, unit, key, scale in (
        ("Median step of each minute of audio", "milliseconds", "step_ms", 1.0),
        ("Memory of the process", "MiB", "rss_bytes", 2.0**20),
    ):
        points = [
            (hour, minute[key] / scale)
            for hour, minute in zip(hours, report["minutes"], strict=True)
            if minute[key] is not None
        ]
        if points:
            panels.append(Panel(title, "hours of audio", unit, [Line("one stream", points)]))
    return {"bench-long": draw(panels)}


def long_table(report: Report) -> list[str]:
    """Write the first minute against the last."""
    lines = [
        f"| {report['audio_s'] / 3600:.1f} h of audio, {report['finals']} utterances "
        "| minute 1 | last minute | difference |",
        "| --- | ---: | ---: | ---: |",
    ]
    for name, key, unit, scale in (
        ("median step", "step_ms", "ms", 1.0),
        ("memory of the process", "rss_bytes", "MiB", 2.0**20),
        ("state of the stream", "state_bytes", "KiB", 1024.0),
    ):
        row = report["change"][key]
        if row["first"] is not None:
            first, last = row["first"] / scale, row["last"] / scale
            lines.append(
                f"| {name} | {first:.1f} {unit} | {last:.1f} {unit} | {row['percent']:+.1f} % |"
            )
    return lines


KINDS = {
    "engine": (engine_figures, engine_table),
    "server": (server_figures, server_table),
    "long": (long_figures, long_table),
}


def machine_line(report: Report) -> str:
    """Say what a report was measured on."""
    machine, versions = report["machine"], report["machine"]["versions"]
    return (
        f"Measured {report['date']} at commit {machine['commit']}: {machine['cpu']}, "
        f"{machine['cores']} cores, load average {machine['load_average_1min']} at the start, "
        f"Python {machine['python']}, torch {versions['torch']}, NeMo {versions['nemo_toolkit']}."
    )


def main() -> None:
    """Write all, or with --check fail when something is stale."""
    outputs: dict[Path, str] = {}
    page = PAGE.read_text(encoding="utf-8")
    for kind, (figures, table) in KINDS.items():
        report = json.loads((RESULTS / f"{kind}.json").read_text(encoding="utf-8"))
        outputs |= {FIGURES / f"{name}.svg": svg for name, svg in figures(report).items()}
        begin, end = f"<!-- {kind}: written by `make docs` -->", f"<!-- end of {kind} -->"
        text = "\n".join([begin, machine_line(report), "", *table(report), end])
        pattern = re.escape(begin) + ".*?" + re.escape(end)
        if len(re.findall(pattern, page, flags=re.DOTALL)) != 1:
            sys.exit(f"{PAGE} needs the markers {begin} and {end} once")
        before, after = re.split(pattern, page, maxsplit=1, flags=re.DOTALL)
        page = before + text + after
    outputs[PAGE] = page
    stale = [
        path
        for path, text in outputs.items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    if "--check" in sys.argv[1:]:
        if stale:
            sys.exit("stale, run `make docs`: " + ", ".join(path.name for path in stale))
        return
    for path in stale:
        path.write_text(outputs[path], encoding="utf-8")


if __name__ == "__main__":
    main()

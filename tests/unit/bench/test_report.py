"""The table of `siren bench server`."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Any

from rich.console import Console

from siren_grpc.bench.report import server_table

KEPT = Path(__file__).parents[3] / "docs" / "benchmarks" / "server.json"


def shown(report: dict[str, Any], *, width: int = 300) -> list[list[str]]:
    """Return the cells of the table, its head first."""
    out = StringIO()
    Console(file=out, width=width).print(server_table(report))
    lines = [line for line in out.getvalue().splitlines() if set(line) & set("┃│")]
    return [[cell.strip() for cell in line.replace("┃", "│").split("│")[1:-1]] for line in lines]


def test_a_rung_says_what_is_added_to_its_steps() -> None:
    report = json.loads(KEPT.read_text(encoding="utf-8"))
    report["rungs"][0] |= {"step_ms": 5.0, "added_ms": {"p50": 1.0, "p95": 2.0, "p99": 3.4}}

    head, first, *_ = shown(report)

    at = head.index("added")
    assert first[at] == "3"


def test_no_figure_is_cut_off_where_there_are_80_characters() -> None:
    report = json.loads(KEPT.read_text(encoding="utf-8"))
    report["rungs"] = [rung for rung in report["rungs"] if rung["held"]]
    report["empty_handler"] = []
    for rung in report["rungs"]:
        rung["added_ms"] = {"p50": 100.0, "p95": 100.0, "p99": 100.0}
    assert shown(report, width=80) == shown(report)


def test_a_report_of_a_version_that_did_not_is_shown_without() -> None:
    report = json.loads(KEPT.read_text(encoding="utf-8"))
    for rung in [*report["rungs"], *report["empty_handler"]]:
        rung.pop("added_ms", None)

    head, *rows = shown(report)

    assert len(rows) == len(report["rungs"]) + len(report["empty_handler"])
    assert {row[head.index("added")] for row in rows} == {""}

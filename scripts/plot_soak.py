"""Draw the journal of a soak: `python scripts/plot_soak.py churn.jsonl churn.svg`.

Memory of each process over sessions or hours of audio; of a stream also its steps.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from line_chart import Line, Panel, draw

_MOST_POINTS = 400


def panels(lines: list[dict[str, Any]]) -> list[Panel]:
    """Return a panel for each process's memory, and for the steps where there are any."""
    audits = [line for line in lines if "processes" in line]
    audits = audits[:: max(1, len(audits) // _MOST_POINTS)]
    is_churn = "sessions" in audits[0]
    label = "sessions" if is_churn else "hours of audio"
    places = [line["sessions"] if is_churn else line["audio_s"] / 3600 for line in audits]
    found = []
    for i, process in enumerate(audits[0]["processes"]):
        points = [
            (place, audit["processes"][i]["rss_bytes"] / 2**20)
            for place, audit in zip(places, audits, strict=True)
        ]
        name = process["process"]
        found.append(Panel(f"Memory of the {name}", label, "MiB", [Line(name, points)]))
    steps = [
        Line(
            name,
            [(p, a[key]) for p, a in zip(places, audits, strict=True) if a.get(key) is not None],
        )
        for name, key in (("mean step", "step_ms"), ("its CPU time", "step_cpu_ms"))
    ]
    if all(line.points for line in steps):
        found.append(Panel("Steps between two audits", label, "milliseconds", steps))
    return found


def main() -> None:
    """Draw one journal. With --check: say that the figure is stale, and fail."""
    arguments = [argument for argument in sys.argv[1:] if argument != "--check"]
    if len(arguments) != 2:
        sys.exit(__doc__)
    journal, figure = map(Path, arguments)
    lines = [json.loads(line) for line in journal.read_text("utf-8").splitlines()]
    if not any("processes" in line for line in lines):
        sys.exit(f"{journal} has no audit yet")
    drawn = draw(panels(lines))
    if "--check" not in sys.argv:
        figure.write_text(drawn, encoding="utf-8")
    elif not figure.exists() or figure.read_text("utf-8") != drawn:
        sys.exit(f"{figure} is stale: run `make docs`")


if __name__ == "__main__":
    main()

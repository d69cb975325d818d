"""Write the table of metrics in docs/observability.md from their declarations. `make docs`."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from siren_grpc.observe.instruments import Metric
from siren_grpc.observe.metrics import ALL

PAGE = Path(__file__).parent.parent / "docs" / "observability.md"
BEGIN, END = "<!-- metrics: written by `make docs` -->", "<!-- end of metrics -->"


def row(metric: Metric) -> str:
    """Return a metric's line of the table."""
    labels = ", ".join(f"`{label}`" for label in metric.labels)
    where = "" if metric.is_everywhere else " With a GPU only."
    return f"| `{metric.name}` | {metric.kind.value} | {labels} | {metric.help}{where} |"


def table() -> str:
    """Return the table of all metrics, in the order of their declarations."""
    head = ["| metric | kind | labels | what it is |", "| --- | --- | --- | --- |"]
    return "\n".join([BEGIN, *head, *map(row, ALL), END])


def main() -> None:
    """Write the page, or with --check fail when it is stale."""
    page = PAGE.read_text(encoding="utf-8")
    fresh = re.sub(
        f"{re.escape(BEGIN)}.*{re.escape(END)}", lambda _: table(), page, flags=re.DOTALL
    )
    if "--check" not in sys.argv:
        PAGE.write_text(fresh, encoding="utf-8")
    elif fresh != page or BEGIN not in page:
        sys.exit(f"{PAGE.name} is stale; run `make docs` and commit the result")


if __name__ == "__main__":
    main()

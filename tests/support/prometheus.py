"""Reading a server's metrics as Prometheus does."""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Callable

from prometheus_client.parser import text_string_to_metric_families

Labels = tuple[tuple[str, str], ...]


class Scrape:
    """One answer of a metrics endpoint."""

    def __init__(self, text: str) -> None:
        self.families = {family.name: family for family in text_string_to_metric_families(text)}
        self._values: dict[tuple[str, Labels], float] = {}
        for family in self.families.values():
            for sample in family.samples:
                labels = tuple(sorted((k, v) for k, v in sample.labels.items() if k != "le"))
                if not sample.name.endswith("_bucket"):
                    self._values[sample.name, labels] = sample.value

    @property
    def names(self) -> set[str]:
        """Names of the samples, those of histograms without their endings."""
        return {
            f"{family.name}_total" if family.type == "counter" else family.name
            for family in self.families.values()
        }

    def total(self, name: str, **labels: str) -> float:
        """Sum of the samples of a name that have these labels; 0 when there is none."""
        wanted = set(labels.items())
        return sum(
            value
            for (found, pairs), value in self._values.items()
            if found == name and wanted <= set(pairs)
        )

    def by(self, name: str, label: str) -> dict[str, float]:
        """Sum of a name's samples by one label, without those that are 0."""
        found: dict[str, float] = {}
        for (sample, pairs), value in self._values.items():
            if sample == name and value:
                key = dict(pairs)[label]
                found[key] = found.get(key, 0.0) + value
        return found


def scrape(port: int) -> Scrape:
    """Ask once."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        return Scrape(answer.read().decode())


def scrape_until(port: int, holds: Callable[[Scrape], bool], *, timeout_s: float = 20.0) -> Scrape:
    """Ask until the numbers of all processes have arrived; return the last answer either way."""
    end = time.monotonic() + timeout_s
    while not holds(found := scrape(port)) and time.monotonic() < end:
        time.sleep(0.1)
    return found

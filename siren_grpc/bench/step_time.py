"""How long a server's steps take, as its own metrics tell: no result has the time of its step."""

from __future__ import annotations

import re
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException

from prometheus_client.parser import text_string_to_metric_families

from siren_grpc.observe.metrics import STEP_DURATION
from siren_grpc.scheduling.plan import StepKind

_TOLD = re.compile(r"metrics on http://(\S+:\d+)/metrics")
_ANSWER_S = 5.0
_OF_RECORDINGS = StepKind.RECORDINGS.value


@dataclass(frozen=True, slots=True)
class Steps:
    """The steps of live streams a server has done so far, previews included, and their time."""

    n: int
    total_s: float


class MetricsAddress:
    """Finds in a server's log where its metrics are."""

    def __init__(self) -> None:
        """Start without."""
        self.address: str | None = None

    def read(self, line: str) -> None:
        """Take a line in; called from the thread that reads the log."""
        if match := _TOLD.search(line):
            self.address = match.group(1)


def read_steps(address: str) -> Steps:
    """Ask a server for its steps so far. address: HOST:PORT of its metrics.

    Raises OSError when there are no metrics to read.
    """
    try:
        connection = HTTPConnection(address, timeout=_ANSWER_S)
        try:
            connection.request("GET", "/metrics")
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        if answer.status != 200:
            raise ValueError(f"status {answer.status}")
        return _steps_in(text)
    except (OSError, HTTPException, ValueError) as error:
        raise OSError(f"no metrics at {address}: {error}") from error


def mean_step_ms(before: Steps | None, after: Steps | None) -> float | None:
    """Return the mean of the steps between two moments; None without any, or unknown ones."""
    if before is None or after is None or after.n <= before.n:
        return None
    return 1000 * (after.total_s - before.total_s) / (after.n - before.n)


def _steps_in(text: str) -> Steps:
    n, total_s = 0.0, 0.0
    for family in text_string_to_metric_families(text):
        if family.name != STEP_DURATION.name:
            continue
        for sample in family.samples:
            if sample.labels.get("kind") == _OF_RECORDINGS:
                continue
            n += sample.value if sample.name.endswith("_count") else 0
            total_s += sample.value if sample.name.endswith("_sum") else 0
    return Steps(int(n), total_s)

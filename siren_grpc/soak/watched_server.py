"""A server of our own whose processes can be counted out: what they hold, what they use."""

from __future__ import annotations

import os
import signal
import threading
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any

import psutil

from siren_grpc.bench.server_process import ServerProcess
from siren_grpc.observe.processes import ProcessUse, process_use
from siren_grpc.server import census

_ANSWER_S = 30.0
_COMMON = ("number", "process", "pid")


class NoCensus(Exception):
    """The server did not tell its counts in time: a process of it hangs, or is gone."""


@dataclass(frozen=True, slots=True)
class ProcessCounts:
    """One process of the server. counts: its own, by name; use: as the system sees it."""

    process: str
    counts: dict[str, float]
    use: ProcessUse

    def as_json(self) -> dict[str, Any]:
        """Return it flat."""
        return {
            "process": self.process,
            **self.counts,
            "rss_bytes": self.use.rss_bytes,
            "fds": self.use.fds,
            "os_threads": self.use.threads,
            "cpu_s": round(self.use.cpu_s, 3),
        }


class WatchedServer:
    """Starts `siren serve` and takes its census."""

    def __init__(self, flags: Sequence[str]) -> None:
        """Start it; `close` ends it. Raises ServerDidNotStart."""
        self._changed = threading.Condition()
        self._lines: dict[int, list[dict[str, Any]]] = defaultdict(list)
        self._number = 0
        self._process = ServerProcess.siren(flags, self._read, is_apart=True)

    def _read(self, line: str) -> None:
        found = census.read_line(line)
        if found is not None:
            with self._changed:
                self._lines[found["number"]].append(found)
                self._changed.notify_all()

    @property
    def target(self) -> str:
        """Its address."""
        return self._process.target

    def count(self) -> list[ProcessCounts]:
        """Return what each process holds now, the engine's first. Raises NoCensus."""
        self._number += 1
        number = self._number
        try:
            os.kill(self._process.pid, signal.SIGUSR1)
        except ProcessLookupError:
            raise NoCensus("the server is gone") from None
        end = monotonic() + _ANSWER_S
        with self._changed:
            while not self._is_complete(number):
                if monotonic() > end or not self._changed.wait(end - monotonic()):
                    raise NoCensus(f"census {number}: {len(self._lines[number])} processes told")
            lines = self._lines.pop(number)
        return [_measure(line) for line in lines]

    def _is_complete(self, number: int) -> bool:
        lines = self._lines[number]
        engines = [line for line in lines if line["process"] == "engine"]
        return bool(engines) and len(lines) == 1 + engines[0]["front_ends"]

    def close(self) -> None:
        """Stop it."""
        self._process.close()


def _measure(line: dict[str, Any]) -> ProcessCounts:
    counts = {name: value for name, value in line.items() if name not in _COMMON}
    try:
        return ProcessCounts(line["process"], counts, process_use(line["pid"]))
    except psutil.NoSuchProcess:
        raise NoCensus(f"the server's {line['process']} is gone") from None

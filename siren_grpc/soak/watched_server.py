"""A server of our own whose processes can be counted out: what they hold, what they use."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections import defaultdict
from collections.abc import Sequence
from time import monotonic
from typing import Any

import psutil

from siren_grpc.bench.server_process import ServerProcess
from siren_grpc.observe.processes import process_use
from siren_grpc.server import census
from siren_grpc.soak.process_counts import ProcessCounts, leaks

_ANSWER_S = 30.0
_IDLE_S = 60.0
_POLL_S = 0.05
_COMMON = ("number", "process", "pid")


class NoCensus(Exception):
    """The server did not tell its counts in time: a process of it hangs, or is gone."""


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
        names = (f"{line['process']} {i}" if i else line["process"] for i, line in enumerate(lines))
        return [_measure(line, name) for line, name in zip(lines, names, strict=True)]

    async def wait_idle(
        self, baseline: Sequence[ProcessCounts] = ()
    ) -> tuple[list[ProcessCounts], float]:
        """Return the counts once nobody leaks anything, and how many seconds that took.

        That is: nothing of streams, and no more of the rest than in the baseline; what has just
        ended takes a moment to go. After a minute the counts are returned as they are. Raises
        NoCensus.
        """
        started_at = monotonic()
        while True:
            counts = await asyncio.to_thread(self.count)
            waited_s = monotonic() - started_at
            if waited_s > _IDLE_S or not leaks(baseline, counts):
                return counts, waited_s
            await asyncio.sleep(_POLL_S)

    def _is_complete(self, number: int) -> bool:
        lines = self._lines[number]
        engines = [line for line in lines if line["process"] == "engine"]
        return bool(engines) and len(lines) == 1 + engines[0]["front_ends"]

    def close(self) -> None:
        """Stop it."""
        self._process.close()


def _measure(line: dict[str, Any], name: str) -> ProcessCounts:
    counts = {key: value for key, value in line.items() if key not in _COMMON}
    try:
        return ProcessCounts(name, counts, process_use(line["pid"]))
    except psutil.NoSuchProcess:
        raise NoCensus(f"the server's {name} is gone") from None

"""What the processes of a server hold, and what an idle one holds that it should not. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from siren_grpc.observe.processes import ProcessUse

_OF_STREAMS = ("sessions", "slots", "closing", "streams", "resumable")
"""Counts that are zero when nobody is there."""
_KEPT = ("tasks", "threads", "fds")
"""Counts that come back to what they were after the warm-up."""
_POOL = 8
"""Threads that asyncio's pool may have started since: it starts them one by one, and ends none."""


@dataclass(frozen=True, slots=True)
class ProcessCounts:
    """One process of the server.

    name: `engine`, `front end 1` and so on. counts: its own, by name. use: as the system sees it.
    """

    name: str
    counts: dict[str, float]
    use: ProcessUse

    def count(self, name: str) -> float:
        """Return one of its counts, or `fds`; 0 for one that it has not."""
        return self.use.fds if name == "fds" else self.counts.get(name, 0)

    def as_json(self) -> dict[str, Any]:
        """Return it flat."""
        return {
            "process": self.name,
            **self.counts,
            "rss_bytes": self.use.rss_bytes,
            "own_bytes": self.use.own_bytes,
            "fds": self.use.fds,
            "os_threads": self.use.threads,
            "cpu_s": round(self.use.cpu_s, 3),
        }


def leaks(baseline: Sequence[ProcessCounts], now: Sequence[ProcessCounts]) -> list[str]:
    """Say what an idle server holds that it did not hold before, process by process.

    baseline: empty when there is none yet: then only what belongs to streams is a leak.
    """
    found = [
        f"{process.name}: {left:g} {name} left"
        for process in now
        for name in _OF_STREAMS
        if (left := process.count(name))
    ]
    for before, after in zip(baseline, now, strict=False):
        for name in _KEPT:
            was, is_now = before.count(name), after.count(name)
            if is_now > was + (_POOL if name == "threads" else 0):
                found.append(f"{after.name}: {is_now:g} {name}, {was:g} after the warm-up")
    return found

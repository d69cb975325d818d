"""CPU time and memory of a process and its children."""

from __future__ import annotations

from collections.abc import Callable

import psutil


def cpu_s(pid: int) -> float | None:
    """Return the CPU seconds a process and its children have used; None when it is gone."""

    def seconds(process: psutil.Process) -> float:
        times = process.cpu_times()
        return float(times.user + times.system)

    return _sum(pid, seconds)


def rss_bytes(pid: int) -> int | None:
    """Return the resident memory of a process and its children; None when it is gone."""
    total = _sum(pid, lambda process: float(process.memory_info().rss))
    return None if total is None else int(total)


def _sum(pid: int, measure: Callable[[psutil.Process], float]) -> float | None:
    try:
        process = psutil.Process(pid)
        return sum(map(measure, (process, *process.children(recursive=True))))
    except psutil.NoSuchProcess:
        return None

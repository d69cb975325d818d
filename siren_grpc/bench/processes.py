"""CPU time and memory of a process and its children, from /proc; None without it."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

_USER_TICKS, _SYSTEM_TICKS = 11, 12  # fields of /proc/PID/stat behind the name, see proc(5)


def cpu_s(pid: int) -> float | None:
    """Return the CPU seconds a process and its children have used, all threads together."""
    seconds = [_cpu_s(each) for each in (pid, *_children(pid))]
    return None if seconds[0] is None else sum(s for s in seconds if s is not None)


def rss_bytes(pid: int) -> int | None:
    """Return the resident memory of a process and its children in bytes."""
    sizes = [_rss_bytes(each) for each in (pid, *_children(pid))]
    return None if sizes[0] is None else sum(size for size in sizes if size is not None)


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            found += map(int, path.read_text(encoding="utf-8").split())
    return found


def _cpu_s(pid: int) -> float | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    ticks = int(fields[_USER_TICKS]) + int(fields[_SYSTEM_TICKS])
    return ticks / os.sysconf("SC_CLK_TCK")


def _rss_bytes(pid: int) -> int | None:
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return None

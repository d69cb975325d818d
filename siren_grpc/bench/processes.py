"""CPU time and memory of a process, from /proc; None on systems without it."""

from __future__ import annotations

import os
from pathlib import Path

_USER_TICKS, _SYSTEM_TICKS = 11, 12  # fields of /proc/PID/stat behind the name, see proc(5)


def cpu_s(pid: int) -> float | None:
    """Return the CPU seconds a process has used, all threads together."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    ticks = int(fields[_USER_TICKS]) + int(fields[_SYSTEM_TICKS])
    return ticks / os.sysconf("SC_CLK_TCK")


def rss_bytes(pid: int) -> int | None:
    """Return the resident memory of a process in bytes."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return None

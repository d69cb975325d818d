"""What processes of this machine use, as the operating system counts it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import psutil

from siren_grpc.cgroup import memory_limit
from siren_grpc.observe.instruments import Snapshot
from siren_grpc.observe.metrics import CPU_TIME, OPEN_FDS, RESIDENT_MEMORY


@dataclass(frozen=True, slots=True)
class ProcessUse:
    """What a process uses now, or several together.

    rss_bytes: resident memory, pages they share counted for each. own_bytes: of that, what is of
    no file: libraries' pages come and go as the system likes. fds: open file descriptors. threads:
    of the system. cpu_s: processor time since their start, user and system.
    """

    rss_bytes: int
    own_bytes: int
    fds: int
    threads: int
    cpu_s: float


def process_use(pid: int) -> ProcessUse:
    """Measure a process. Raises psutil.NoSuchProcess when it is gone."""
    return _measure(psutil.Process(pid))


def family_use(pid: int) -> ProcessUse:
    """Measure a process and its descendants together.

    A descendant that ends meanwhile is left out. Raises psutil.NoSuchProcess when the
    process itself is gone.
    """
    parent = psutil.Process(pid)
    family = [_measure(parent)]
    for child in parent.children(recursive=True):
        try:
            family.append(_measure(child))
        except psutil.NoSuchProcess:
            continue
    return ProcessUse(
        rss_bytes=sum(use.rss_bytes for use in family),
        own_bytes=sum(use.own_bytes for use in family),
        fds=sum(use.fds for use in family),
        threads=sum(use.threads for use in family),
        cpu_s=sum(use.cpu_s for use in family),
    )


def read_processes(pids: Mapping[str, int]) -> Snapshot:
    """Return memory, descriptors and processor time of processes, by the name each goes by.

    One that is gone is left out.
    """
    found: Snapshot = {}
    for name, pid in pids.items():
        try:
            use = process_use(pid)
        except psutil.Error:
            continue
        found[RESIDENT_MEMORY.name, (name,)] = float(use.rss_bytes)
        found[OPEN_FDS.name, (name,)] = float(use.fds)
        found[CPU_TIME.name, (name,)] = use.cpu_s
    return found


def _measure(process: psutil.Process) -> ProcessUse:
    with process.oneshot():
        times, memory = process.cpu_times(), process.memory_info()
        return ProcessUse(
            rss_bytes=memory.rss,
            own_bytes=memory.rss - getattr(memory, "shared", 0),  # known on Linux only
            fds=process.num_fds(),
            threads=process.num_threads(),
            cpu_s=times.user + times.system,
        )


def memory_bytes() -> int:
    """Return the memory the processes may use: the machine's, or its container's limit."""
    limit = memory_limit()
    total = int(psutil.virtual_memory().total)
    return total if limit is None else min(total, limit)

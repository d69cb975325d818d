"""What the operating system says of the server's processes."""

from __future__ import annotations

from collections.abc import Mapping

import psutil

from siren_grpc.observe.instruments import Snapshot
from siren_grpc.observe.metrics import CPU_TIME, OPEN_FDS, RESIDENT_MEMORY


def read_processes(pids: Mapping[str, int]) -> Snapshot:
    """Return memory, descriptors and processor time of processes, by the name each goes by.

    One that is gone is left out.
    """
    found: Snapshot = {}
    for name, pid in pids.items():
        try:
            process = psutil.Process(pid)
            with process.oneshot():
                times = process.cpu_times()
                found[RESIDENT_MEMORY.name, (name,)] = float(process.memory_info().rss)
                found[OPEN_FDS.name, (name,)] = float(process.num_fds())
                found[CPU_TIME.name, (name,)] = times.user + times.system
        except psutil.Error:
            continue
    return found

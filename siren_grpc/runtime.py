"""The process and the machine: cores, and what must be said before torch is imported."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from math import ceil

from siren_grpc.cgroup import cpu_limit


@contextmanager
def importing_for_good() -> Iterator[None]:
    """Import large libraries without collections of garbage, and leave them out of later ones.

    NeMo and what it imports are objects by the hundred thousand that stay. To look through them
    again and again makes the import longer, and later stops every thread for as long as it takes.
    All objects of the process are taken to stay: use it before there is a model to unload.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_on:
            gc.enable()


def share_the_cores() -> None:
    """Let OpenMP's threads be no more than the cores, and wait for each other only shortly.

    No effect behind torch's import; settings of the operator's own are left alone. By default they
    spin for milliseconds. As soon as anything else wants a core (the clients, another container),
    the thread that is waited for does not get one, at each of a step's hundreds of operations: a
    step of 4 ms took 100. And OpenMP, which torch asks where nobody says how many threads (loading,
    steps on a GPU), looks at no container's limit: the system stops what is beyond it.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")  # some tens of microseconds
    if cores() < _cores_to_run_on():
        os.environ.setdefault("OMP_NUM_THREADS", str(cores()))


def cores() -> int:
    """Return the cores this process may use: at most what its container's limit amounts to."""
    return max(1, ceil(core_time()))


def core_time() -> float:
    """Return how many seconds of its cores' time the process may take in one: they may be shared.

    As `cores`, but for a limit that is no whole number.
    """
    limit = cpu_limit()
    n_cores = _cores_to_run_on()
    return n_cores if limit is None else min(n_cores, limit)


def _cores_to_run_on() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def front_ends_for(n_cores: int) -> int:
    """Return how many front ends are worth it.

    One carries about a thousand live streams on a core; more than the engine can take are no use.
    """
    return min(8, max(1, n_cores // 4))

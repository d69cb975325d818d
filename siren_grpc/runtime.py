"""The process and the machine: cores, and what must be said before torch is imported."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager


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
    """Make OpenMP's threads wait for each other only shortly; no effect behind torch's import.

    By default they spin for milliseconds. As soon as anything else wants a core (the clients,
    another container), the thread that is waited for does not get one, at each of a step's
    hundreds of operations: a step of 4 ms took 100. Settings of the operator's own are left alone.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")  # some tens of microseconds


def cores() -> int:
    """Return the cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def front_ends_for(n_cores: int) -> int:
    """Return how many front ends are worth it.

    One carries about a thousand live streams on a core; more than the engine can take are no use.
    """
    return min(8, max(1, n_cores // 4))

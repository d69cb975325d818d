"""What must be said to the process before torch is imported."""

from __future__ import annotations

import os


def share_the_cores() -> None:
    """Make OpenMP's threads wait for each other only shortly; no effect behind torch's import.

    By default they spin for milliseconds. As soon as anything else wants a core (the clients,
    another container), the thread that is waited for does not get one, at each of a step's
    hundreds of operations: a step of 4 ms took 100. Settings of the operator's own are left alone.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")  # some tens of microseconds

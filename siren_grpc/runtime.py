"""What must be said to the process before torch is imported."""

from __future__ import annotations

import os


def share_the_cores() -> None:
    """Make OpenMP's threads sleep while they wait for each other; no effect behind torch's import.

    By default they spin. As soon as anything else wants a core (the clients, another container),
    the thread that is waited for does not get one, at each of a step's hundreds of operations: a
    step of 4 ms took 100. Asleep, waiting costs microseconds. An OMP_WAIT_POLICY of the operator's
    own is left alone.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

"""A thread for what takes longer than a step, and is not to hold one up."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from siren_grpc.engine.heartbeat import Heartbeat


class SideWorker:
    """Does one thing at a time, in order: it is mostly Python's work, which steps wait for."""

    def __init__(self, name: str, heartbeat: Heartbeat) -> None:
        """Prepare the thread. heartbeat: is told of each thing, so that a stuck one is noticed."""
        self._heartbeat = heartbeat
        self._thread = ThreadPoolExecutor(1, name)

    def submit(self, work: Callable[[], None]) -> None:
        """Do something when its turn comes. It raises nothing: there is nobody to hear of it."""
        self._thread.submit(self._do, work)

    def stop(self) -> None:
        """Begin nothing more."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _do(self, work: Callable[[], None]) -> None:
        self._heartbeat.beat()
        try:
            work()
        finally:
            self._heartbeat.rest()

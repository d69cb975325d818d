"""Since when each of the stepper's threads has been at what it does now."""

from __future__ import annotations

from threading import get_ident
from time import monotonic


class Heartbeat:
    """A stamp for each thread that is busy. Any thread may read them all.

    One assignment a stamp: what it costs cannot be measured beside a step.
    """

    def __init__(self) -> None:
        """Start with nobody busy."""
        self._since: dict[int, float] = {}

    def beat(self) -> None:
        """Take note that this thread begins something: a turn of its loop, or a step."""
        self._since[get_ident()] = monotonic()

    def rest(self) -> None:
        """Take note that this thread waits for work, however long that may take."""
        self._since.pop(get_ident(), None)

    def busy_since(self) -> tuple[float, ...]:
        """Return when each busy thread began what it does, by `time.monotonic`."""
        return tuple(self._since.copy().values())

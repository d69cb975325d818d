"""What a server's processes hold at this moment: a line of each in the log, on SIGUSR1.

For whoever looks for a leak: `siren soak` sends the signal and reads the lines. Counts of an idle
server are those it had when it started to serve, whatever it has been through.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import os
import re
import signal
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

_log = logging.getLogger(__name__)
_LINE = re.compile(r"census (\{.*\})")


@dataclass(frozen=True, slots=True)
class TakeCensus:
    """To a front end: write your line. number: of the census, the same for all its lines."""

    number: int


class Counted(Protocol):
    """What has counts to tell: `EngineHost`."""

    @property
    def counts(self) -> Mapping[str, float]:
        """How many there are of each."""
        ...


class CountsItself(Protocol):
    """What is asked for its line, and writes it when it comes to it: `FrontEndProcess`."""

    def take_census(self, number: int) -> None:
        """Ask for it."""
        ...


def on_signal(engine: Counted, front_ends: Sequence[CountsItself]) -> None:
    """Take a census whenever SIGUSR1 comes, in the event loop that runs."""
    numbers = itertools.count(1)

    def take() -> None:
        number = next(numbers)
        write_line(number, "engine", {**engine.counts, "front_ends": len(front_ends)})
        for front_end in front_ends:
            front_end.take_census(number)

    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, take)


def write_line(number: int, process: str, counts: Mapping[str, float]) -> None:
    """Log one process's counts, and those that every process has; in its event loop."""
    # Python's own threads: how many gRPC and torch have, the system knows.
    common = {"tasks": len(asyncio.all_tasks()), "threads": threading.active_count()}
    line = {"number": number, "process": process, "pid": os.getpid(), **common, **counts}
    _log.info("census %s", json.dumps(line))


def read_line(line: str) -> dict[str, Any] | None:
    """Return what `write_line` wrote; None for any other line of the log."""
    match = _LINE.search(line)
    if match is None:
        return None
    found: dict[str, Any] = json.loads(match.group(1))
    return found

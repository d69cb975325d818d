"""What a server's processes hold at this moment: a line for each in the log, on SIGUSR1.

For whoever looks for a leak: `siren soak` sends the signal and reads the lines. Counts of an idle
server are those it had when it started to serve, whatever it has been through.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import logging
import os
import re
import signal
import sys
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from siren_grpc.engine.host import EngineHost
from siren_grpc.server.free_memory import heap_in_use
from siren_grpc.server.inspection_messages import TakeCensus

if TYPE_CHECKING:
    from siren_grpc.server.front_ends import FrontEnds

_log = logging.getLogger(__name__)
_LINE = re.compile(r"census (\{.*\})")
_ANSWER_S = 20.0

Census: TypeAlias = dict[str, float]
"""How many a process has of each; `pid` says which it is."""


def census_of(counts: Mapping[str, float]) -> Census:
    """Return a process's own counts, and those that every process has; in its event loop.

    What waits to be collected is not held, so it is collected first.
    """
    gc.collect()
    return {
        "pid": os.getpid(),
        "tasks": len(asyncio.all_tasks()),
        # Python's own: how many gRPC and torch have, the system knows.
        "threads": threading.active_count(),
        "heap_bytes": heap_in_use(),
        "python_blocks": sys.getallocatedblocks(),
        **counts,
    }


def on_signal(host: EngineHost, front_ends: FrontEnds) -> None:
    """Take a census whenever SIGUSR1 comes, in the event loop that runs."""
    numbers = itertools.count(1)
    taking: set[asyncio.Task[None]] = set()

    def take() -> None:
        engine = census_of({**host.counts, "front_ends": len(front_ends)})
        task = asyncio.create_task(_write_all(next(numbers), engine, front_ends), name="census")
        taking.add(task)
        task.add_done_callback(taking.discard)

    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, take)


async def _write_all(number: int, engine: Census, front_ends: FrontEnds) -> None:
    """Write the lines of one census, those of processes that answer; number: the same for all."""
    _write(number, "engine", engine)
    asked = [front_end.ask(TakeCensus(), timeout_s=_ANSWER_S) for front_end in front_ends]
    for found in await asyncio.gather(*asked, return_exceptions=True):
        if isinstance(found, BaseException):
            _log.warning("census: a front end does not answer")
        else:
            _write(number, "front end", found)


def _write(number: int, process: str, census: Census) -> None:
    _log.info("census %s", json.dumps({"number": number, "process": process, **census}))


def read_line(line: str) -> dict[str, Any] | None:
    """Return what a line of the log says of a process; None for any other line."""
    match = _LINE.search(line)
    if match is None:
        return None
    found: dict[str, Any] = json.loads(match.group(1))
    return found

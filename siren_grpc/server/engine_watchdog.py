"""The engine's process watches its own steps."""

from __future__ import annotations

import asyncio
import faulthandler
import logging
import os
import sys
from time import monotonic

from siren_grpc.engine.host import EngineHost
from siren_grpc.engine.watchdog import Verdict, Watchdog
from siren_grpc.server.front_ends import FrontEnds

_log = logging.getLogger(__name__)
STUCK_STATUS = 70
"""Exit status of a process that a stuck step has ended (sysexits.h: EX_SOFTWARE)."""


async def watch_steps(
    host: EngineHost, front_ends: FrontEnds, *, stuck_s: float, exit_s: float
) -> None:
    """Look for a step that does not end, and tell the front ends, until cancelled.

    stuck_s: how long it may take. exit_s: how much longer until the process is ended.
    """
    watchdog = Watchdog(stuck_s=stuck_s, exit_s=exit_s)
    was_stuck = False
    while True:
        verdict = watchdog.look(host.busy_since(), monotonic())
        is_stuck = verdict is not Verdict.WELL
        for front_end in front_ends:
            front_end.beat(is_stuck=is_stuck)
        if is_stuck and not was_stuck:
            _log.error("a step has taken more than %g s (stuck_step_s); all threads:", stuck_s)
            dump_stacks()
        elif was_stuck and not is_stuck:
            _log.warning("the step has ended after all")
        was_stuck = is_stuck
        if verdict is Verdict.HOPELESS:
            _log.critical("the step has not ended in %g s more (stuck_exit_s)", exit_s)
            exit_stuck()
        await asyncio.sleep(watchdog.look_every_s)


def dump_stacks() -> None:
    """Write what every thread does to the log's stream."""
    sys.stderr.flush()
    faulthandler.dump_traceback(file=sys.stderr, all_threads=True)


def exit_stuck() -> None:
    """End the process although a step has not ended: an orderly exit would wait for it."""
    _log.critical("exiting with status %d", STUCK_STATUS)
    dump_stacks()
    logging.shutdown()
    os._exit(STUCK_STATUS)

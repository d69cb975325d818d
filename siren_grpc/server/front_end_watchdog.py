"""Front ends that have stopped answering are ended, for others to take their places."""

from __future__ import annotations

import asyncio
import logging

from siren_grpc.engine.watchdog import LOOK_EVERY_S, Silence, Verdict
from siren_grpc.server.front_ends import FrontEnds

_log = logging.getLogger(__name__)
_LEAST_SILENT_S = 15.0
"""A machine out of breath may keep a process from its event loop for a while."""


async def keep_alive(front_ends: FrontEnds, *, silent_s: float, exit_s: float) -> None:
    """Replace front ends that die, and end those that are silent, until cancelled.

    They are asked for their numbers once a second. A loop that does not turn serves nobody, and
    the health of the others says nothing about it. silent_s, exit_s: as `EngineWatch` takes them
    for the engine's process. Raises what `FrontEnds.keep` raises.
    """
    silent_s = max(silent_s, _LEAST_SILENT_S)
    ending = asyncio.create_task(_end_silent(front_ends, silent_s, exit_s), name="end-silent")
    try:
        await front_ends.keep()
    finally:
        ending.cancel()


async def _end_silent(front_ends: FrontEnds, silent_s: float, exit_s: float) -> None:
    silences: dict[int, Silence] = {}
    while True:
        await asyncio.sleep(LOOK_EVERY_S)
        silences = {
            front_end.number: silences.get(front_end.number)
            or Silence(silent_s=silent_s, exit_s=exit_s)
            for front_end in front_ends
        }
        for front_end in front_ends:
            silence = silences[front_end.number]
            if front_end.was_heard():
                silence.hear()
            if silence.look() is Verdict.HOPELESS and front_end.end():
                _log.error("ending %s, of which nothing is heard", front_end.name)

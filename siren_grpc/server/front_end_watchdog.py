"""Front ends that have stopped answering are ended, for others to take their places."""

from __future__ import annotations

import asyncio
import logging

from siren_grpc.engine.watchdog import LEAST_SILENT_S, LOOK_EVERY_S, Silence, Verdict
from siren_grpc.server.front_end_process import FrontEndDied, FrontEndProcess
from siren_grpc.server.front_ends import FrontEnds
from siren_grpc.server.inspection_messages import Ping

_log = logging.getLogger(__name__)


async def keep_alive(front_ends: FrontEnds, *, silent_s: float, exit_s: float) -> None:
    """Replace front ends that die, and end those that do not answer, until cancelled.

    A loop that does not turn serves nobody, and the health of the others says nothing about it.
    silent_s, exit_s: as `EngineWatch` takes them for the engine's process. Raises what
    `FrontEnds.keep` raises.
    """
    silent_s = max(silent_s, LEAST_SILENT_S)
    ending = asyncio.create_task(_end_silent(front_ends, silent_s, exit_s), name="end-silent")
    try:
        await front_ends.keep()
    finally:
        ending.cancel()


async def _end_silent(front_ends: FrontEnds, silent_s: float, exit_s: float) -> None:
    silences: dict[int, Silence] = {}
    while True:
        there = list(front_ends)
        *answers, _ = await asyncio.gather(*map(_answers, there), asyncio.sleep(LOOK_EVERY_S))
        silences = {
            front_end.number: silences.get(front_end.number)
            or Silence(silent_s=silent_s, exit_s=exit_s)
            for front_end in there
        }
        for front_end, has_answered in zip(there, answers, strict=True):
            silence = silences[front_end.number]
            if has_answered:
                silence.hear()
            elif silence.look() is Verdict.HOPELESS and front_end.end():
                _log.error("ending %s, of which nothing is heard", front_end.name)


async def _answers(front_end: FrontEndProcess) -> bool:
    try:
        await front_end.ask(Ping(), timeout_s=LOOK_EVERY_S)
    except (FrontEndDied, asyncio.TimeoutError):
        return False
    return True

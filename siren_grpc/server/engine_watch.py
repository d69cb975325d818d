"""What a front end hears of the engine's process, and what it does when it hears nothing."""

from __future__ import annotations

import asyncio
import logging
import os
import signal

from siren_grpc.domain.errors import ShuttingDown, SirenError
from siren_grpc.engine.engine import Engine
from siren_grpc.engine.watchdog import LEAST_SILENT_S, LOOK_EVERY_S, Silence, Verdict
from siren_grpc.server.front_end import FrontEnd

_log = logging.getLogger(__name__)
_RETRY_S = 1.0


class EngineWatch:
    """Ends streams, and turns liveness, while the engine's process is stuck.

    It says so itself while its event loop turns. A loop that does not turn, because something
    keeps the interpreter, says nothing: after the same time that counts as stuck, and after
    `stuck_exit_s` more the process is ended from here, with SIGABRT: it leaves its stacks.
    """

    def __init__(
        self, engine: Engine, front_end: FrontEnd, *, silent_s: float, exit_s: float
    ) -> None:
        """Prepare; `run` watches. The times: as for `Silence`."""
        self._engine = engine
        self._front_end = front_end
        self._silence = Silence(silent_s=max(silent_s, LEAST_SILENT_S), exit_s=exit_s)
        self._process = os.getppid()
        self._says_stuck = False
        self._is_stuck = False
        self._changed = asyncio.Event()

    def hear(self, *, is_stuck: bool) -> None:
        """Take a sign of life, and what it says of the steps."""
        self._silence.hear()
        if is_stuck != self._says_stuck:
            self._says_stuck = is_stuck
            self._changed.set()

    async def run(self) -> None:
        """Watch until cancelled."""
        loop = asyncio.get_running_loop()
        look_at = loop.time() + LOOK_EVERY_S
        verdict = Verdict.WELL
        while True:
            try:
                await asyncio.wait_for(self._changed.wait(), max(0.0, look_at - loop.time()))
                self._changed.clear()
            except asyncio.TimeoutError:
                verdict = self._silence.look()
                look_at = loop.time() + LOOK_EVERY_S
            if verdict is Verdict.HOPELESS and os.getppid() == self._process:
                _log.error("ending the engine's process, of which nothing is heard")
                os.kill(self._process, signal.SIGABRT)
            await self._tell(is_stuck=self._says_stuck or verdict is not Verdict.WELL)

    async def _tell(self, *, is_stuck: bool) -> None:
        if is_stuck == self._is_stuck:
            return
        self._is_stuck = is_stuck
        if is_stuck:
            _log.error("the recogniser is stuck; ending every stream")
            self._engine.die(_stuck)
        else:
            _log.warning("the recogniser goes on")
            self._engine.revive()
        await self._front_end.set_alive(is_alive=not is_stuck)


def _stuck() -> SirenError:
    return ShuttingDown(
        "the recogniser is stuck and the server is about to be restarted; go on in a new stream, "
        "on another replica if there is one",
        retry_after_s=_RETRY_S,
    )

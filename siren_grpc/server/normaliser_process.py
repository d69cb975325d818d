"""A front end's `Normaliser`, in a process that starts with the first stream that needs it."""

from __future__ import annotations

import asyncio
import itertools
import logging
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from siren_grpc.domain.errors import InternalError
from siren_grpc.server.link import Link
from siren_grpc.server.normaliser_messages import (
    NormaliserSetup,
    Prepare,
    Prepared,
    Write,
    Wrote,
)
from siren_grpc.text.normalisation import Task, Written

_log = logging.getLogger(__name__)
_MODULE = "siren_grpc.server.normaliser_main"
_EXIT_S = 5.0
_GONE = "inverse text normalisation stopped unexpectedly; the cause is in the server's log"


class NormaliserProcess:
    """Starts the process and asks it. Belongs to one event loop."""

    def __init__(self, *, log_level: str, cache: Path | None) -> None:
        """Prepare; the first `prepare` starts the process. cache: of compiled grammars."""
        self._setup = NormaliserSetup(log_level, None if cache is None else str(cache))
        self._starting = asyncio.Lock()
        self._process: asyncio.subprocess.Process | None = None
        self._link: Link | None = None
        self._prepared: dict[str, asyncio.Future[None]] = {}
        self._written: dict[int, asyncio.Future[Written]] = {}
        self._preloading: set[asyncio.Task[None]] = set()
        self._numbers = itertools.count(1)

    @property
    def pid(self) -> int | None:
        """Id of the process, None before it is started."""
        return None if self._process is None else self._process.pid

    async def prepare(self, language: str) -> None:
        """Return when the language can be written. Raises InternalError when it cannot."""
        await self._prepared_link(language)

    def preload(self, language: str) -> None:
        """Start to prepare a language; a failure is in the log, and told to who needs it."""
        task = asyncio.create_task(self.prepare(language), name=f"prepare-{language}")
        self._preloading.add(task)
        task.add_done_callback(self._end_preload)

    async def write(self, language: str, task: Task) -> Written:
        """Write words of a prepared language. Raises InternalError when the process dies of it.

        The process may be another than was prepared: it has died since, of something else.
        """
        link = await self._prepared_link(language)
        number = next(self._numbers)
        written: asyncio.Future[Written] = asyncio.get_running_loop().create_future()
        self._written[number] = written
        link.send(Write(number, language, task))
        try:
            return await written
        finally:
            self._written.pop(number, None)

    async def close(self) -> None:
        """End the process; harmless when there is none."""
        if self._link is not None:
            self._link.close()
        if self._process is None:
            return
        try:
            await asyncio.wait_for(self._process.wait(), _EXIT_S)
        except asyncio.TimeoutError:
            self._process.kill()  # it is compiling a grammar
            await self._process.wait()

    async def _prepared_link(self, language: str) -> Link:
        link = await self._running()
        ready = self._prepared.get(language)
        if ready is None:
            ready = self._prepared[language] = asyncio.get_running_loop().create_future()
            link.send(Prepare(language))
        await asyncio.shield(ready)  # others may wait for it, too
        return link

    async def _running(self) -> Link:
        async with self._starting:
            if self._link is None:
                ours, theirs = socket.socketpair()
                with theirs:
                    self._process = await asyncio.create_subprocess_exec(
                        *(sys.executable, "-m", _MODULE, str(theirs.fileno())),
                        pass_fds=[theirs.fileno()],
                        stdin=subprocess.DEVNULL,
                    )
                self._link = await Link.connect(ours, self._receive, self._lose)
                self._link.send(self._setup)
            return self._link

    def _end_preload(self, task: asyncio.Task[None]) -> None:
        self._preloading.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _log.warning("%s: %s", task.get_name(), task.exception())

    def _receive(self, message: Any) -> None:
        if isinstance(message, Wrote):
            written = self._written.get(message.number)
            if written is not None and not written.done():
                written.set_result(message.written)
        elif isinstance(message, Prepared):
            self._settle(message)

    def _settle(self, message: Prepared) -> None:
        if message.is_ready:
            self._prepared[message.language].set_result(None)
        else:
            # The next stream tries again.
            self._fail(self._prepared.pop(message.language))

    def _lose(self) -> None:
        """Fail what waits; the next `prepare` starts a new process."""
        self._link = None
        waiting: list[asyncio.Future[Any]] = [*self._prepared.values(), *self._written.values()]
        self._prepared.clear()
        for future in waiting:
            self._fail(future)

    @staticmethod
    def _fail(future: asyncio.Future[Any]) -> None:
        if not future.done():
            future.set_exception(InternalError(_GONE))
            future.exception()  # read here: whoever asked may have gone

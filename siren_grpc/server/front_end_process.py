"""A front end in a process of its own, as the engine's process sees it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from siren_grpc.engine.host import EngineHost
from siren_grpc.engine.messages import Delivery, Failed, Recognised
from siren_grpc.observe.logging import LogFormat
from siren_grpc.observe.tracing import TracingMode
from siren_grpc.server.bind_error import cannot_listen
from siren_grpc.server.front_end import Catalog, FrontEndConfig
from siren_grpc.server.front_end_messages import (
    Beat,
    Bound,
    EngineDied,
    FrontEndSetup,
    NotBound,
    Stop,
)
from siren_grpc.server.inspection_messages import Answer, Question
from siren_grpc.server.link import Link
from siren_grpc.server.questions import Questions

_MODULE = "siren_grpc.server.front_end_main"
_NO_SAMPLES = np.zeros(0, np.float32)
_START_S = 60.0
_STOP_S = 10.0
"""How long a front end may take to stop once its streams have no time left."""
_EXIT_S = 5.0
"""How long a front end that has stopped may take to be gone."""


class FrontEndDied(RuntimeError):
    """A front end's process ended by itself; its cause is in the log."""


class FrontEndProcess:
    """Starts the process and passes messages between it and the engine."""

    def __init__(
        self,
        config: FrontEndConfig,
        host: EngineHost,
        *,
        log_level: str,
        log_format: LogFormat,
        tracing: TracingMode,
    ) -> None:
        """Prepare; `start` starts it."""
        self._config = config
        self._host = host
        self._number = host.connect(self._deliver)
        self._setup = FrontEndSetup(config, self._number, log_level, log_format, tracing)
        self._questions = Questions(self._send)
        self._process: asyncio.subprocess.Process | None = None
        self._link: Link | None = None
        self._bound: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._is_gone = asyncio.Event()
        self._is_ending = False

    async def start(self, catalog: Catalog | None = None) -> int:
        """Start the process and return the port it listens on.

        catalog: what it serves from its first call on; None to refuse streams until `serve`.
        Raises OSError when the address cannot be bound, FrontEndDied.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", _MODULE, str(theirs.fileno())),
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
            )
        self._link = await Link.connect(ours, self._receive, self._lose)
        self._link.send(replace(self._setup, catalog=catalog))
        try:
            return await asyncio.wait_for(self._bound, _START_S)
        except asyncio.TimeoutError:
            raise FrontEndDied(f"a front end did not start within {_START_S:g} s") from None

    @property
    def number(self) -> int:
        """Its sessions' ids carry it."""
        return self._number

    @property
    def name(self) -> str:
        """What logs, metrics and traces call it."""
        return self._setup.process

    @property
    def pid(self) -> int | None:
        """Its process's id; None before `start`."""
        return None if self._process is None else self._process.pid

    async def ask(self, question: Question, *, timeout_s: float) -> Any:
        """Return its answer. Raises FrontEndDied, asyncio.TimeoutError."""
        return await self._questions.ask(question, timeout_s=timeout_s)

    async def serve(self, catalog: Catalog) -> None:
        """Serve these models from now on, under these names."""
        self._send(catalog)

    async def wait_gone(self) -> None:
        """Return when the process has ended, or is about to."""
        await self._is_gone.wait()

    def die(self) -> None:
        """Tell it that the stepper is dead."""
        self._send(EngineDied())

    def beat(self, *, is_stuck: bool) -> None:
        """Give it a sign of life. is_stuck: a step seems to have no end."""
        self._send(Beat(is_stuck))

    def end(self) -> bool:
        """End a process that does not answer, and return whether that was not under way already.

        It leaves its stacks in the log, if it still can.
        """
        if self._process is None or self._is_ending:
            return False
        self._is_ending = True
        self._signal(signal.SIGABRT)
        asyncio.get_running_loop().call_later(_EXIT_S, self._signal, signal.SIGKILL)
        return True

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)

    async def stop(self, hurry: asyncio.Event) -> None:
        """Let it drain and stop; hurry: set to grant running streams no more time."""
        if self._link is None:
            return
        self._send(Stop(in_haste=hurry.is_set()))
        hurrying = asyncio.create_task(hurry.wait())
        going = asyncio.create_task(self._is_gone.wait())
        grace_s = self._config.drain_delay_s + self._config.shutdown_grace_s
        await asyncio.wait({hurrying, going}, timeout=grace_s, return_when=asyncio.FIRST_COMPLETED)
        if not going.done():
            self._send(Stop(in_haste=True))
            await asyncio.wait({going}, timeout=_STOP_S)
        hurrying.cancel()
        going.cancel()
        await self.wait_ended()

    async def wait_ended(self) -> str:
        """Wait until a process that has closed its end has ended, and end it if it does not.

        Returns how it ended, in words.
        """
        if self._process is None:
            return "never started"
        try:
            status = await asyncio.wait_for(self._process.wait(), _EXIT_S)
        except asyncio.TimeoutError:
            self._process.kill()
            await self._process.wait()
            return "it hung"
        return f"status {status}" if status >= 0 else signal.Signals(-status).name

    def _send(self, message: object) -> None:
        if self._link is not None:
            self._link.send(message)

    def _deliver(self, deliveries: Sequence[Delivery]) -> None:
        self._send([_without_samples(delivery) for delivery in deliveries])

    def _receive(self, message: Any) -> None:
        if isinstance(message, list):
            self._host.post(message)
        elif isinstance(message, Answer):
            self._questions.settle(message)
        elif isinstance(message, Bound):
            self._bound.set_result(message.port)
        elif isinstance(message, NotBound):
            self._bound.set_exception(OSError(message.reason))

    def _lose(self) -> None:
        """Note that the process has closed its end."""
        self._host.disconnect(self._number)
        if not self._bound.done():
            self._bound.set_exception(FrontEndDied("a front end did not start; see the log above"))
        self._questions.give_up(FrontEndDied("the front end is gone"))
        self._is_gone.set()


def _without_samples(delivery: Delivery) -> Delivery:
    """Leave out the audio that the front end has sent itself."""
    outcome = delivery.outcome
    if isinstance(outcome, (Recognised, Failed)):
        work = replace(outcome.work, samples=_NO_SAMPLES)
        return Delivery(delivery.session_id, replace(outcome, work=work))
    return delivery


def reserve_port(host: str, port: int) -> int:
    """Return a port that several front ends may share: `port`, or a free one if it is 0.

    Sharing hides that a port is taken: this looks, as one server alone would. Raises OSError.
    """
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    with socket.socket(family, kind, protocol) as probe:
        if os.name == "posix":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            raise cannot_listen(f"{host}:{port}", "port", error) from error
        return int(probe.getsockname()[1])

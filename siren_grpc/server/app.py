"""The server's life: front ends that bind, models that load; serve, drain, stop."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from siren_grpc.domain.ports import ModelBackend
from siren_grpc.engine.host import EngineHost
from siren_grpc.observe.device import DeviceUsage
from siren_grpc.observe.logging import LogFormat
from siren_grpc.observe.tracing import TracingMode, make_tracing
from siren_grpc.server import census
from siren_grpc.server.admin import AdminServer
from siren_grpc.server.bind_error import cannot_listen
from siren_grpc.server.engine_watchdog import exit_stuck, watch_steps
from siren_grpc.server.front_end import FrontEndConfig
from siren_grpc.server.front_end_process import FrontEndProcess, reserve_port
from siren_grpc.server.front_end_watchdog import keep_alive
from siren_grpc.server.front_ends import FrontEnds
from siren_grpc.server.observer import ObserveConfig, Observer
from siren_grpc.server.served_models import Models, ServedModels

_log = logging.getLogger(__name__)
_STEP_S = 5.0
"""How long the step under way may take at the end."""


@dataclass(frozen=True, slots=True)
class AppConfig:
    """How many front ends to run, and what all of them do.

    log_level, log_format: of the front ends; this process has its own. tracing: of all.
    """

    n_front_ends: int
    front_end: FrontEndConfig
    max_batch_delay_ms: float
    max_load: float
    log_level: str
    log_format: LogFormat
    tracing: TracingMode
    observe: ObserveConfig


class StepperDied(RuntimeError):
    """The recogniser stopped by itself: the process cannot serve and should be replaced."""


class App:
    """The engine's process: the models of one device, and front ends in processes of their own.

    The front ends speak gRPC: a step's many short calls into torch would otherwise wait for their
    turn at the interpreter, and they for the step's.
    """

    def __init__(
        self,
        config: AppConfig,
        read_models: Callable[[], Models],
        load_backend: Callable[[str], ModelBackend],
        read_devices: Callable[[], Sequence[DeviceUsage]] = tuple,
    ) -> None:
        """Prepare.

        read_models: says which models to serve, at start and again on SIGHUP; raises ValueError
        when it cannot. load_backend: loads and warms up a model by name; called in a thread of
        its own. read_devices: as for `Observer`.
        """
        self._config = config
        self._read_devices = read_devices
        self._read_models = read_models
        self._models = ServedModels(load_backend)
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()
        self._reload = asyncio.Event()

    @property
    def is_loading(self) -> bool:
        """Whether the thread that loads the model runs, even after `run` has returned."""
        return self._models.is_loading

    def request_stop(self) -> None:
        """Make `run` drain and return; asked again, it grants running streams no more time."""
        if self._stop.is_set():
            self._hurry.set()
        self._stop.set()

    async def run(self, *, on_bound: Callable[[int], None] = lambda port: None) -> None:
        """Serve until `request_stop`, SIGINT or SIGTERM.

        on_bound: told the port once it is bound, before the model is loaded: probes are answered
        NOT_SERVING from then on. Raises OSError when the address cannot be bound, StepperDied,
        FrontEndDied, and what load_backend raises.
        """
        self._handle_signals()
        tracing = None
        if self._config.tracing == "steps":
            tracing = make_tracing("engine", samples_all=True)
        host = EngineHost(
            max_delay_s=self._config.max_batch_delay_ms / 1000,
            max_load=self._config.max_load,
            tracing=tracing,
        )
        host.start()
        front_ends = self._front_ends(host)
        observer = Observer(self._config.observe, host, front_ends, self._read_devices)
        admin: AdminServer | None = None
        limits = self._config.front_end
        watching = asyncio.create_task(
            watch_steps(host, front_ends, stuck_s=limits.stuck_step_s, exit_s=limits.stuck_exit_s),
            name="watch-steps",
        )
        keeping: asyncio.Task[None] | None = None
        try:
            port = await front_ends.start()
            on_bound(port)
            alive = keep_alive(front_ends, silent_s=limits.stuck_step_s, exit_s=limits.stuck_exit_s)
            keeping = asyncio.create_task(alive, name="keep-front-ends")
            await observer.start()
            admin = self._admin(observer)
            if admin is not None:
                await admin.start()
            census.on_signal(host, front_ends)
            loading = self._models.update(self._read_models(), front_ends, host)
            if await self._until_stopped(loading, keeping):
                names = ", ".join(info.id for info in host.models)
                observer.state = "serving"
                _log.info("serving %s on %s:%d", names, self._config.front_end.host, port)
                await self._until_stopped(self._serve(front_ends, host), keeping)
        finally:
            observer.state = "draining"
            _log.info(
                "stopping; running streams may take %g s (stop again to hurry)",
                limits.drain_delay_s + limits.shutdown_grace_s,
            )
            await _cancel(keeping)
            await front_ends.stop(self._hurry)
            if admin is not None:
                await admin.stop()
            await observer.stop()
            watching.cancel()
            host.stop(timeout_s=_STEP_S)
            if tracing is not None:
                await asyncio.to_thread(tracing.close)
            if host.busy_since():
                exit_stuck()
            _log.info("stopped")

    def _admin(self, observer: Observer) -> AdminServer | None:
        config = self._config.observe
        if config.admin_port is None:
            return None
        return AdminServer(observer, config.admin_host, config.admin_port)

    def _front_ends(self, host: EngineHost) -> FrontEnds:
        config, count = self._config.front_end, self._config.n_front_ends
        if count > 1:
            config = shared(config)

        def make(port: int) -> FrontEndProcess:
            return FrontEndProcess(
                replace(config, port=port),
                host,
                log_level=self._config.log_level,
                log_format=self._config.log_format,
                tracing=self._config.tracing,
            )

        return FrontEnds(make, count=count, port=config.port)

    def _handle_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.request_stop)
        loop.add_signal_handler(signal.SIGHUP, self._reload.set)

    async def _until_stopped(
        self, work: Coroutine[Any, Any, None], keeping: asyncio.Task[None]
    ) -> bool:
        """Run until the work is done or the server is asked to stop; say whether it is done.

        keeping: keeps the front ends. Raises FrontEndDied when it does.
        """
        working, stopping = asyncio.create_task(work), asyncio.create_task(self._stop.wait())
        await asyncio.wait({working, stopping, keeping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if working.done():
            working.result()
            return True
        working.cancel()
        if keeping.done() and not self._stop.is_set():
            keeping.result()
        return False

    async def _serve(self, front_ends: FrontEnds, host: EngineHost) -> None:
        """Follow SIGHUP until the stepper dies. Raises StepperDied then."""
        dying = asyncio.create_task(host.wait_dead())
        try:
            while not dying.done():
                # A load takes seconds or minutes: streams must not wait so long to hear of it.
                await _until_either(dying, self._follow(front_ends, host))
        finally:
            dying.cancel()
        for front_end in front_ends:
            front_end.die()
        raise StepperDied("the recogniser died; see the log above")

    async def _follow(self, front_ends: FrontEnds, host: EngineHost) -> None:
        """Wait for a SIGHUP and follow it."""
        await self._reload.wait()
        self._reload.clear()
        try:
            await self._models.update(self._read_models(), front_ends, host)
            names = ", ".join(self._models.ids)
            _log.info("SIGHUP: models and aliases read again, serving %s", names)
        except Exception as error:
            _log.error("SIGHUP: %s; serving what was served before", error)


def shared(config: FrontEndConfig) -> FrontEndConfig:
    """Return the config of several front ends that share their ports. Raises OSError.

    Sharing hides that another server has a port: each is looked at before.
    """
    port, health_port = reserve_port(config.host, config.port), config.security.health_port
    if health_port is not None:
        try:
            health_port = reserve_port(config.host, health_port)
        except OSError as error:
            address = f"{config.host}:{health_port}"
            raise cannot_listen(address, "health_port", error) from error
    security = replace(config.security, health_port=health_port)
    return replace(config, port=port, shares_port=True, security=security)


async def _until_either(task: asyncio.Task[None], work: Coroutine[Any, Any, None]) -> None:
    """Run until the work is done or the task is; the work is cancelled then."""
    working = asyncio.create_task(work)
    try:
        await asyncio.wait({task, working}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
    finally:
        working.cancel()


async def _cancel(task: asyncio.Task[None] | None) -> None:
    """End a task, whatever it ends with."""
    if task is not None:
        task.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await task

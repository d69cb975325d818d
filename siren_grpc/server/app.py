"""The server's life: bind, load, serve, drain, stop."""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from siren.v1 import speech_pb2, speech_pb2_grpc

from siren_grpc.domain.ports import ModelBackend
from siren_grpc.engine.engine import Engine
from siren_grpc.engine.session import EngineLimits
from siren_grpc.server.names import ModelNames
from siren_grpc.server.reflection import add_reflection
from siren_grpc.server.service import ServiceLimits, SpeechService

_log = logging.getLogger(__name__)
_SERVICE = speech_pb2.DESCRIPTOR.services_by_name["SpeechService"].full_name
_HEALTH_NAMES = ("", _SERVICE)
_KEEPALIVE = (
    # A client whose network died is noticed within 40 s, and its session freed.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # Clients may ping as often as every 10 s; the default answers that with GOAWAY.
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
)
_FINISH_S = 5.0
"""Time interrupted streams get to receive their final."""


@dataclass(frozen=True, slots=True)
class AppConfig:
    """Where to listen, and the limits of everything behind it."""

    host: str
    port: int
    max_message_bytes: int
    shutdown_grace_s: float
    max_batch_delay_ms: float
    service: ServiceLimits
    engine: EngineLimits


class StepperDied(RuntimeError):
    """The recogniser stopped by itself: the process cannot serve and should be replaced."""


@dataclass(frozen=True, slots=True)
class Models:
    """Which models to serve: names as `siren serve --model` takes them, the default first."""

    names: tuple[str, ...]
    aliases: Mapping[str, str]
    """A name of `names` by alias."""


class App:
    """One process: a gRPC server in front of the models of one device."""

    def __init__(
        self,
        config: AppConfig,
        read_models: Callable[[], Models],
        load_backend: Callable[[str], ModelBackend],
    ) -> None:
        """Prepare.

        read_models: says which models to serve, at start and again on SIGHUP; raises ValueError
        when it cannot. load_backend: loads and warms up a model by name; called in a thread of
        its own.
        """
        self._config = config
        self._read_models = read_models
        self._load_backend = load_backend
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()
        self._reload = asyncio.Event()
        self._health = health.aio.HealthServicer()
        self._is_loading = False
        self._ids: dict[str, str] = {}  # of the models in service, by name
        self._retiring: set[asyncio.Task[None]] = set()

    @property
    def is_loading(self) -> bool:
        """Whether the thread that loads the model runs, even after `run` has returned."""
        return self._is_loading

    def request_stop(self) -> None:
        """Make `run` drain and return; asked again, it grants running streams no more time."""
        if self._stop.is_set():
            self._hurry.set()
        self._stop.set()

    async def run(self, *, on_bound: Callable[[int], None] = lambda port: None) -> None:
        """Serve until `request_stop`, SIGINT or SIGTERM.

        on_bound: told the port once it is bound, before the model is loaded: probes are answered
        NOT_SERVING from then on. Raises OSError when the address cannot be bound, StepperDied,
        and what load_backend raises.
        """
        server = grpc.aio.server(
            options=[
                ("grpc.max_receive_message_length", self._config.max_message_bytes),
                ("grpc.max_send_message_length", self._config.max_message_bytes),
                ("grpc.so_reuseport", 0),  # a second server on the port is an error, not a twin
                *_KEEPALIVE,
            ]
        )
        service = SpeechService(self._config.service)
        speech_pb2_grpc.add_SpeechServiceServicer_to_server(service, server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        add_reflection(server, (_SERVICE, health.SERVICE_NAME))
        await self._set_health(is_serving=False)
        port = self._bind(server)
        await server.start()
        self._handle_signals()
        on_bound(port)
        engine = Engine(self._config.engine, max_delay_s=self._config.max_batch_delay_ms / 1000)
        engine.start()
        try:
            if await self._until_stopped(self._update_models(service, engine)):
                await self._set_health(is_serving=True)
                names = ", ".join(info.id for info in engine.models)
                _log.info("serving %s on %s:%d", names, self._config.host, port)
                await self._until_stopped(self._serve(service, engine))
        finally:
            _log.info(
                "stopping; running streams may take %g s (stop again to hurry)",
                self._config.shutdown_grace_s,
            )
            await self._set_health(is_serving=False)
            await service.drain(grace_s=self._config.shutdown_grace_s, hurry=self._hurry)
            await server.stop(_FINISH_S)
            engine.stop(timeout_s=_FINISH_S)
            _log.info("stopped")

    def _bind(self, server: grpc.aio.Server) -> int:
        host = self._config.host
        address = f"[{host}]:{self._config.port}" if ":" in host else f"{host}:{self._config.port}"
        try:
            port = server.add_insecure_port(address)
        except RuntimeError as error:
            raise OSError(f"cannot listen on {address}: {error}") from error
        if port == 0:
            raise OSError(f"cannot listen on {address}")
        return int(port)

    def _handle_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.request_stop)
        loop.add_signal_handler(signal.SIGHUP, self._reload.set)

    async def _until_stopped(self, work: Coroutine[Any, Any, None]) -> bool:
        """Run until the work is done or the server is asked to stop; say whether it is done."""
        working, stopping = asyncio.create_task(work), asyncio.create_task(self._stop.wait())
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not working.done():
            working.cancel()
            return False
        working.result()
        return True

    async def _serve(self, service: SpeechService, engine: Engine) -> None:
        """Follow SIGHUP until the stepper dies. Raises StepperDied then."""
        dying = asyncio.create_task(engine.wait_dead())
        try:
            while not dying.done():
                reloading = asyncio.create_task(self._reload.wait())
                await asyncio.wait({dying, reloading}, return_when=asyncio.FIRST_COMPLETED)
                reloading.cancel()
                if self._reload.is_set():
                    self._reload.clear()
                    try:
                        await self._update_models(service, engine)
                    except Exception as error:
                        _log.error("SIGHUP: %s; serving what was served before", error)
        finally:
            dying.cancel()
        raise StepperDied("the recogniser died; see the log above")

    async def _update_models(self, service: SpeechService, engine: Engine) -> None:
        """Load and let go of models until those served are those wanted."""
        wanted = self._read_models()
        unknown = set(wanted.aliases.values()) - set(wanted.names)
        if unknown:
            raise ValueError(f"aliases of models that are not served: {', '.join(sorted(unknown))}")
        for name in dict.fromkeys(wanted.names):
            if name not in self._ids:
                backend = await self._load_in_thread(name)
                engine.add_model(backend)
                self._ids[name] = backend.info.id
                _log.info("model %s is loaded", backend.info.id)
        aliases = {alias: self._ids[name] for alias, name in wanted.aliases.items()}
        service.serve(engine, ModelNames(self._ids[wanted.names[0]], aliases))
        for name in set(self._ids) - set(wanted.names):
            model_id = self._ids.pop(name)
            _log.info("model %s goes when its last stream has ended", model_id)
            task = asyncio.create_task(engine.retire_model(model_id), name=f"retire-{model_id}")
            self._retiring.add(task)
            task.add_done_callback(self._retiring.discard)

    def _load_in_thread(self, name: str) -> asyncio.Future[ModelBackend]:
        """Load in a daemon thread: it cannot be stopped, and must not keep the process alive."""
        loop = asyncio.get_running_loop()
        loaded: asyncio.Future[ModelBackend] = loop.create_future()

        def settle(backend: ModelBackend | None, error: Exception | None) -> None:
            if loaded.cancelled():
                return
            if backend is not None:
                loaded.set_result(backend)
            elif error is not None:
                loaded.set_exception(error)

        def load() -> None:
            backend, failure = None, None
            try:
                backend = self._load_backend(name)
            except Exception as error:
                failure = error
            self._is_loading = False
            if not loop.is_closed():
                loop.call_soon_threadsafe(settle, backend, failure)

        self._is_loading = True

        threading.Thread(target=load, name="load-model", daemon=True).start()
        return loaded

    async def _set_health(self, *, is_serving: bool) -> None:
        status = health_pb2.HealthCheckResponse
        for name in _HEALTH_NAMES:
            await self._health.set(name, status.SERVING if is_serving else status.NOT_SERVING)

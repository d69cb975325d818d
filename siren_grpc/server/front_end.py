"""The gRPC server: bind, serve what the engine has, drain, stop."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from siren.v1 import speech_pb2, speech_pb2_grpc

from siren_grpc.domain.types import ModelInfo
from siren_grpc.engine.engine import Engine
from siren_grpc.engine.session import EngineLimits
from siren_grpc.server.connections import ConnectionLimits, Options
from siren_grpc.server.doorman import Doorman
from siren_grpc.server.names import ModelNames
from siren_grpc.server.reflection import add_reflection
from siren_grpc.server.service import ServiceLimits, SpeechService

_log = logging.getLogger(__name__)
_SERVICE = speech_pb2.DESCRIPTOR.services_by_name["SpeechService"].full_name
_HEALTH_NAMES = ("", _SERVICE)
_LIVENESS = "liveness"
"""The health of the recogniser's loop alone: neither load nor draining changes it."""
_FINISH_S = 5.0
"""Time interrupted streams get to receive their final."""


@dataclass(frozen=True, slots=True)
class FrontEndConfig:
    """Where to listen, and the limits of every stream.

    shares_port: other front ends listen on the same port (SO_REUSEPORT). itn_languages: whose
    grammars are loaded at start.
    """

    host: str
    port: int
    shares_port: bool
    connections: ConnectionLimits
    drain_delay_s: float
    shutdown_grace_s: float
    stuck_step_s: float
    stuck_exit_s: float
    itn_languages: tuple[str, ...]
    service: ServiceLimits
    engine: EngineLimits


@dataclass(frozen=True, slots=True)
class Catalog:
    """The models in service, and what clients may call them."""

    models: tuple[ModelInfo, ...]
    names: ModelNames


class FrontEnd:
    """A gRPC server in front of an engine. Belongs to one event loop."""

    def __init__(self, config: FrontEndConfig, engine: Engine) -> None:
        """Prepare; `start` binds."""
        self._config = config
        self._engine = engine
        self._health = health.aio.HealthServicer()
        self._service = SpeechService(config.service)
        self._is_serving = False
        self._is_alive = True
        self._port = config.port
        self._server = self._make_server()

    async def start(self) -> int:
        """Listen, and return the port; health is NOT_SERVING until `serve`.

        Raises OSError when the address cannot be bound.
        """
        await self._set_health()
        self._port = self._bind(self._server)
        await self._server.start()
        return self._port

    async def serve(self, catalog: Catalog) -> None:
        """Serve these models from now on, under these names."""
        self._engine.serve(catalog.models)
        self._service.serve(self._engine, catalog.names)
        self._is_serving = True
        await self._set_health()

    async def set_alive(self, *, is_alive: bool) -> None:
        """Say from now on whether the recogniser's loop turns; it does at first."""
        if is_alive != self._is_alive:
            self._is_alive = is_alive
            await self._set_health()

    async def stop(self, hurry: asyncio.Event) -> None:
        """Stop in order: health, then `drain_delay_s` as before, then `shutdown_grace_s` to end in.

        hurry: set to grant running streams no more time.
        """
        self._is_serving = False
        await self._set_health()
        await _wait(hurry, self._config.drain_delay_s)
        grace_s = self._config.shutdown_grace_s
        draining = asyncio.create_task(self._service.drain(grace_s=grace_s, hurry=hurry))
        await asyncio.sleep(0)  # it has told the streams by then
        going = asyncio.create_task(self._server.stop(grace_s + _FINISH_S))
        doorman = Doorman(lambda: self._make_server(Doorman.OPTIONS), self._bind)
        if not self._service.is_idle:
            await doorman.start()
        await draining
        await self._server.stop(_FINISH_S)
        await asyncio.gather(going, doorman.stop())

    def _make_server(self, options: Options = ()) -> grpc.aio.Server:
        # Unless it is meant to share, a second server on the port is an error, no twin.
        sharing = ("grpc.so_reuseport", int(self._config.shares_port))
        server = grpc.aio.server(options=[*self._config.connections.options, sharing, *options])
        speech_pb2_grpc.add_SpeechServiceServicer_to_server(self._service, server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        add_reflection(server, (_SERVICE, health.SERVICE_NAME))
        return server

    def _bind(self, server: grpc.aio.Server) -> int:
        host = self._config.host
        address = f"[{host}]:{self._port}" if ":" in host else f"{host}:{self._port}"
        try:
            port = server.add_insecure_port(address)
        except RuntimeError as error:
            raise OSError(f"cannot listen on {address}: {error}") from error
        if port == 0:
            raise OSError(f"cannot listen on {address}")
        return int(port)

    async def _set_health(self) -> None:
        status = health_pb2.HealthCheckResponse
        is_ready = self._is_serving and self._is_alive
        for name in _HEALTH_NAMES:
            await self._health.set(name, status.SERVING if is_ready else status.NOT_SERVING)
        await self._health.set(_LIVENESS, status.SERVING if self._is_alive else status.NOT_SERVING)


async def _wait(hurry: asyncio.Event, timeout_s: float) -> None:
    with suppress(asyncio.TimeoutError):
        await asyncio.wait_for(hurry.wait(), timeout_s)

"""The gRPC server: bind, serve what the engine has, drain, stop."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from siren.v1 import speech_pb2, speech_pb2_grpc

from siren_grpc.domain.model import ModelInfo
from siren_grpc.engine.engine import Engine
from siren_grpc.engine.session import EngineLimits
from siren_grpc.server.bind_error import cannot_listen
from siren_grpc.server.connections import ConnectionLimits, Options
from siren_grpc.server.drain_server import DrainServer
from siren_grpc.server.front_end_tally import FrontEndTally
from siren_grpc.server.health import HealthServicer
from siren_grpc.server.inspection import Inspector
from siren_grpc.server.load_reports import LoadReports
from siren_grpc.server.names import ModelNames
from siren_grpc.server.opening import ServiceLimits
from siren_grpc.server.reflection import add_reflection
from siren_grpc.server.security.config import NO_SECURITY, SecurityConfig
from siren_grpc.server.security.guard import Guard
from siren_grpc.server.security.health_port import HealthPort
from siren_grpc.server.service import SpeechService
from siren_grpc.server.unreadable import UnreadableRequests

_log = logging.getLogger(__name__)
_DESCRIPTOR = speech_pb2.DESCRIPTOR.services_by_name["SpeechService"]
_SERVICE = _DESCRIPTOR.full_name
_CHANNELZ = "grpc.channelz.v1.Channelz"
_HEALTH_NAMES = ("", _SERVICE)
_LIVENESS = "liveness"
"""The health of the recogniser's loop alone: neither load nor draining changes it."""
_REFUSING_S = 0.5
"""For how long new streams are refused before connections are sent away."""
_FINISH_S = 5.0
"""Time interrupted streams get to receive their final."""


@dataclass(frozen=True, slots=True)
class FrontEndConfig:
    """Where to listen, and the limits of every stream.

    shares_port: other front ends listen on the same port (SO_REUSEPORT). itn_languages: whose
    grammars are loaded at start. load_reports: whether balancers are told the load (ORCA).
    channelz: whether gRPC's own view of its connections can be asked for.
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
    load_reports: bool
    channelz: bool
    security: SecurityConfig = NO_SECURITY


@dataclass(frozen=True, slots=True)
class Catalog:
    """The models in service, and what clients may call them."""

    models: tuple[ModelInfo, ...]
    names: ModelNames


class FrontEnd:
    """A gRPC server in front of an engine. Belongs to one event loop."""

    def __init__(self, config: FrontEndConfig, engine: Engine, tally: FrontEndTally) -> None:
        """Prepare; `start` binds. tally: counts what happens.

        Raises OSError or ValueError when the files of tokens or certificates cannot be used.
        """
        self._config = config
        self._engine = engine
        self._health = HealthServicer()
        self._guard = Guard(config.security, tally.refuse_call)
        self._health_port = HealthPort(self._health)
        self._loads = LoadReports(is_on=config.load_reports)
        self._service = SpeechService(config.service, tally, self._loads, self._guard.caller_of)
        self.inspector = Inspector(engine, self._service, tally, self._loads)
        self._is_serving = False
        self._is_alive = True
        self._port = config.port
        self._server = self._make_server()

    @property
    def is_idle(self) -> bool:
        """Whether no stream has a call."""
        return self._service.is_idle

    async def start(self) -> int:
        """Listen, and return the port; health is NOT_SERVING until `serve`.

        Raises OSError when the address cannot be bound.
        """
        self._set_health()
        self._port = self._bind(self._server)
        if self._config.security.health_port is not None:
            address = _address(self._config.host, self._config.security.health_port)
            await self._health_port.start(address, is_shared=self._config.shares_port)
        await self._server.start()
        self._guard.follow(self._service.revoke)
        return self._port

    async def serve(self, catalog: Catalog) -> None:
        """Serve these models from now on, under these names."""
        self._engine.serve(catalog.models)
        self._service.serve(self._engine, catalog.names)
        self._is_serving = True
        self._set_health()

    async def set_alive(self, *, is_alive: bool) -> None:
        """Say from now on whether the recogniser's loop turns; it does at first."""
        if is_alive != self._is_alive:
            self._is_alive = is_alive
            self._set_health()

    async def stop(self, hurry: asyncio.Event) -> None:
        """Stop in order: health, then `drain_delay_s` as before, then `shutdown_grace_s` to end in.

        hurry: set to grant running streams no more time.
        """
        self._is_serving = False
        self._set_health()
        await _wait(hurry, self._config.drain_delay_s)
        grace_s = self._config.shutdown_grace_s
        draining = asyncio.create_task(self._service.drain(grace_s=grace_s, hurry=hurry))
        # gRPC cancels calls that arrive while its GOAWAY is on the way, without a word: who comes
        # at the first moment is refused in ours.
        await asyncio.wait({draining}, timeout=_REFUSING_S)
        going = asyncio.create_task(self._server.stop(grace_s + _FINISH_S))
        drain_server = DrainServer(lambda: self._make_server(DrainServer.OPTIONS), self._bind)
        if not self._service.is_idle:
            await drain_server.start()
        await draining
        self._loads.close()
        self._health.close()
        await self._server.stop(_FINISH_S)
        await asyncio.gather(going, drain_server.stop(), self._health_port.stop())
        self._guard.close()

    def _make_server(self, options: Options = ()) -> grpc.aio.Server:
        # Unless it is meant to share, a second server on the port is an error, no twin.
        sharing = ("grpc.so_reuseport", int(self._config.shares_port))
        server = grpc.aio.server(
            # Who calls is asked first: the other reads requests.
            interceptors=[*self._guard.interceptors(), self._unreadable_requests()],
            options=[*self._config.connections.options, sharing, *options],
        )
        speech_pb2_grpc.add_SpeechServiceServicer_to_server(self._service, server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        names = [_SERVICE, health.SERVICE_NAME]
        self._loads.add_to(server)
        if self._config.channelz:
            from grpc_channelz.v1 import channelz

            channelz.add_channelz_servicer(server)
            names.append(_CHANNELZ)
        add_reflection(server, names)
        return server

    def _unreadable_requests(self) -> UnreadableRequests:
        """Make what ends the calls whose requests are none; a stream's service does it itself."""
        streams, others = set(), {}
        for method in _DESCRIPTOR.methods:
            path = f"/{_SERVICE}/{method.name}"
            if method.client_streaming:
                streams.add(path)
            else:
                others[path] = partial(self._service.refuse, method.name)
        idle_timeout_s = self._config.service.idle_timeout_s
        return UnreadableRequests(idle_timeout_s, refusals=others, self_timed=streams)

    def _bind(self, server: grpc.aio.Server) -> int:
        address = _address(self._config.host, self._port)
        try:
            port = self._guard.add_port(server, address)
        except RuntimeError as error:
            raise cannot_listen(address, "port", error) from error
        if port == 0:
            raise OSError(f"cannot listen on {address}")
        return int(port)

    def _set_health(self) -> None:
        status = health_pb2.HealthCheckResponse
        is_ready = self._is_serving and self._is_alive
        for name in _HEALTH_NAMES:
            self._health.set(name, status.SERVING if is_ready else status.NOT_SERVING)
        self._health.set(_LIVENESS, status.SERVING if self._is_alive else status.NOT_SERVING)


async def _wait(hurry: asyncio.Event, timeout_s: float) -> None:
    with suppress(asyncio.TimeoutError):
        await asyncio.wait_for(hurry.wait(), timeout_s)


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

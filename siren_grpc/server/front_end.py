"""The gRPC server: bind, serve what the engine has, drain, stop."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from siren.v1 import speech_pb2, speech_pb2_grpc

from siren_grpc.domain.types import ModelInfo
from siren_grpc.engine.engine import Engine
from siren_grpc.engine.session import EngineLimits
from siren_grpc.server.front_end_tally import FrontEndTally
from siren_grpc.server.inspection import Inspector
from siren_grpc.server.load_reports import LoadReports
from siren_grpc.server.names import ModelNames
from siren_grpc.server.reflection import add_reflection
from siren_grpc.server.security.config import NO_SECURITY, SecurityConfig
from siren_grpc.server.security.guard import Guard
from siren_grpc.server.security.health_port import HealthPort
from siren_grpc.server.service import ServiceLimits, SpeechService
from siren_grpc.server.unreadable import UnreadableRequests

_log = logging.getLogger(__name__)
_SERVICE = speech_pb2.DESCRIPTOR.services_by_name["SpeechService"].full_name
_CHANNELZ = "grpc.channelz.v1.Channelz"
_HEALTH_NAMES = ("", _SERVICE)
_KEEPALIVE = (
    # A client whose network died is noticed within 40 s, and its session freed.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # Clients may ping as often as every 10 s; the default answers that with GOAWAY.
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
)
_BOUNDS = (
    # A connection that does not get to its first SETTINGS frame holds a descriptor no longer.
    ("grpc.server_handshake_timeout_ms", 10_000),
    # Metadata of a call; larger ones are refused with RESOURCE_EXHAUSTED, at random from the soft
    # limit on unless both are the same.
    ("grpc.max_metadata_size", 16 << 10),
    ("grpc.absolute_max_metadata_size", 16 << 10),
    # Calls of one connection. A balancer may put all of a server's streams on one; clients keep
    # back what is beyond it.
    ("grpc.max_concurrent_streams", 4096),
    # Identity alone: 31 kB of gzip would make the server hold 32 MB, and audio packs no better by
    # it. A packed message is refused with UNIMPLEMENTED.
    ("grpc.compression_enabled_algorithms_bitset", 1),
)
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
    max_message_bytes: int
    shutdown_grace_s: float
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
        self._health = health.aio.HealthServicer()
        self._guard = Guard(config.security)
        self._health_port = HealthPort(self._health)
        self._loads = LoadReports(is_on=config.load_reports)
        self._service = SpeechService(config.service, tally, self._loads, self._guard.caller_of)
        self.inspector = Inspector(self._service, tally, self._loads)
        self._server = grpc.aio.server(
            # Who calls is asked first: the other reads requests.
            interceptors=[*self._guard.interceptors(), UnreadableRequests()],
            options=[
                ("grpc.max_receive_message_length", config.max_message_bytes),
                ("grpc.max_send_message_length", config.max_message_bytes),
                # Unless it is meant to share, a second server on the port is an error, no twin.
                ("grpc.so_reuseport", int(config.shares_port)),
                *_KEEPALIVE,
                *_BOUNDS,
            ],
        )

    async def start(self) -> int:
        """Listen, and return the port; health is NOT_SERVING until `serve`.

        Raises OSError when the address cannot be bound.
        """
        speech_pb2_grpc.add_SpeechServiceServicer_to_server(self._service, self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        names = [_SERVICE, health.SERVICE_NAME]
        self._loads.add_to(self._server)
        if self._config.channelz:
            from grpc_channelz.v1 import channelz

            channelz.add_channelz_servicer(self._server)
            names.append(_CHANNELZ)
        add_reflection(self._server, names)
        await self._set_health(is_serving=False)
        port = self._bind()
        if self._config.security.health_port is not None:
            address = _address(self._config.host, self._config.security.health_port)
            await self._health_port.start(address, is_shared=self._config.shares_port)
        await self._server.start()
        self._guard.follow(self._service.revoke)
        return port

    async def serve(self, catalog: Catalog) -> None:
        """Serve these models from now on, under these names."""
        self._engine.serve(catalog.models)
        self._service.serve(self._engine, catalog.names)
        await self._set_health(is_serving=True)

    async def stop(self, hurry: asyncio.Event) -> None:
        """Let running streams end, end those that do not in time, and stop.

        hurry: set to grant them no more time.
        """
        await self._set_health(is_serving=False)
        await self._service.drain(grace_s=self._config.shutdown_grace_s, hurry=hurry)
        self._guard.close()
        await self._health_port.stop()
        self._loads.close()
        await self._server.stop(_FINISH_S)

    def _bind(self) -> int:
        address = _address(self._config.host, self._config.port)
        try:
            port = self._guard.add_port(self._server, address)
        except RuntimeError as error:
            raise OSError(f"cannot listen on {address}: {error}") from error
        if port == 0:
            raise OSError(f"cannot listen on {address}")
        return int(port)

    async def _set_health(self, *, is_serving: bool) -> None:
        status = health_pb2.HealthCheckResponse
        for name in _HEALTH_NAMES:
            await self._health.set(name, status.SERVING if is_serving else status.NOT_SERVING)


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

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
class FrontEndConfig:
    """Where to listen, and the limits of every stream.

    shares_port: other front ends listen on the same port (SO_REUSEPORT). itn_languages: whose
    grammars are loaded at start.
    """

    host: str
    port: int
    shares_port: bool
    max_message_bytes: int
    shutdown_grace_s: float
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
        self._server = grpc.aio.server(
            options=[
                ("grpc.max_receive_message_length", config.max_message_bytes),
                ("grpc.max_send_message_length", config.max_message_bytes),
                # Unless it is meant to share, a second server on the port is an error, no twin.
                ("grpc.so_reuseport", int(config.shares_port)),
                *_KEEPALIVE,
            ]
        )

    @property
    def counts(self) -> dict[str, float]:
        """What it holds; zero of everything that belongs to streams when there are none."""
        return {**self._engine.counts, **self._service.counts}

    async def start(self) -> int:
        """Listen, and return the port; health is NOT_SERVING until `serve`.

        Raises OSError when the address cannot be bound.
        """
        speech_pb2_grpc.add_SpeechServiceServicer_to_server(self._service, self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        add_reflection(self._server, (_SERVICE, health.SERVICE_NAME))
        await self._set_health(is_serving=False)
        port = self._bind()
        await self._server.start()
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
        await self._server.stop(_FINISH_S)

    def _bind(self) -> int:
        host = self._config.host
        address = f"[{host}]:{self._config.port}" if ":" in host else f"{host}:{self._config.port}"
        try:
            port = self._server.add_insecure_port(address)
        except RuntimeError as error:
            raise OSError(f"cannot listen on {address}: {error}") from error
        if port == 0:
            raise OSError(f"cannot listen on {address}")
        return int(port)

    async def _set_health(self, *, is_serving: bool) -> None:
        status = health_pb2.HealthCheckResponse
        for name in _HEALTH_NAMES:
            await self._health.set(name, status.SERVING if is_serving else status.NOT_SERVING)

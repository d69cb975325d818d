"""A plain-text port for probes, beside one with TLS: Kubernetes' gRPC probes speak no TLS."""

from __future__ import annotations

import logging
from typing import Any

import grpc
from grpc_health.v1 import health_pb2_grpc

from siren_grpc.server.bind_error import cannot_listen
from siren_grpc.server.unreadable import UnreadableRequests

_log = logging.getLogger(__name__)
_MAX_MESSAGE_BYTES = 4096
_MAX_CALLS = 64
_REQUEST_S = 5.0
"""A probe sends its request at once. Who does not would keep one of the few calls from others."""


class HealthPort:
    """Answers `grpc.health.v1.Health`, and nothing else, to everybody."""

    def __init__(self, servicer: Any, *, request_timeout_s: float = _REQUEST_S) -> None:
        """Prepare.

        servicer: the one of the main port, so that both say the same. request_timeout_s: how long
        a call may take to say what it wants.
        """
        self._servicer = servicer
        self._request_timeout_s = request_timeout_s
        self._server: grpc.aio.Server | None = None

    async def start(self, address: str, *, is_shared: bool) -> int:
        """Listen, and return the port. is_shared: with other front ends.

        Raises OSError when it cannot be bound.
        """
        server = grpc.aio.server(
            interceptors=[UnreadableRequests(self._request_timeout_s)],
            options=[
                ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
                ("grpc.so_reuseport", int(is_shared)),
            ],
            maximum_concurrent_rpcs=_MAX_CALLS,
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, server)
        try:
            port = server.add_insecure_port(address)
        except RuntimeError as error:
            raise cannot_listen(address, "health_port", error) from error
        await server.start()
        self._server = server
        _log.info("health alone, in plain text, on port %d", port)
        return int(port)

    async def stop(self) -> None:
        """Listen no more; harmless if it did not start."""
        if self._server is not None:
            await self._server.stop(None)

"""The gRPC server that answers at the port of a front end while that drains."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import grpc

_log = logging.getLogger(__name__)
_ATTEMPTS = 20
_PAUSE_S = 0.05
_AGE_MS = 2000


class DrainServer:
    """Takes a front end's port over while its last streams run.

    A gRPC server can send GOAWAY, by which clients' channels learn to open new streams on another
    connection, only with its port closed. But whoever connects meanwhile should hear that the
    server is draining, and a probe that it is alive. Those who stay too long are sent away as
    well: a balancer may have somewhere else for them by now.
    """

    OPTIONS = (("grpc.max_connection_age_ms", _AGE_MS),)

    def __init__(
        self, make_server: Callable[[], grpc.aio.Server], bind: Callable[[grpc.aio.Server], int]
    ) -> None:
        """Prepare. make_server: makes one with `OPTIONS`. bind: raises OSError when it cannot."""
        self._make_server = make_server
        self._bind = bind
        self._server: grpc.aio.Server | None = None

    async def start(self) -> None:
        """Listen; without success nobody answers at the port."""
        for _ in range(_ATTEMPTS):
            await asyncio.sleep(_PAUSE_S)  # the port is about to be given up
            server = self._make_server()
            try:
                self._bind(server)
            except OSError:
                continue
            await server.start()
            self._server = server
            return
        _log.warning("nobody answers at the port while the server drains: it is taken")

    async def stop(self) -> None:
        """End whatever still runs."""
        if self._server is not None:
            await self._server.stop(None)

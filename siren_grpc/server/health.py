"""`grpc.health.v1.Health`, so that no client can hold the server up.

The servicer of grpcio-health-checking keeps a lock while it writes to who watches: one that does
not read would stop every change of status, and so the drain. Nor does it end a watch when the
server stops, or know `List`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

_pb: Any = health_pb2  # whose stubs do not know `List` yet


class HealthServicer(health_pb2_grpc.HealthServicer):
    """Says of names whether they are served. Belongs to one event loop."""

    def __init__(self) -> None:
        """Start with the server as a whole, which serves."""
        self._statuses = {"": health_pb2.HealthCheckResponse.SERVING}
        self._watchers: set[asyncio.Event] = set()
        """Each is set when it is to look again."""
        self._is_closed = False

    def set(self, service: str, status: Any) -> None:
        """Set the status of a name; who watches it hears of it."""
        self._statuses[service] = status
        self._wake()

    def close(self) -> None:
        """End all watches: the server stops, and would wait for them."""
        self._is_closed = True
        self._wake()

    def _wake(self) -> None:
        for watcher in self._watchers:
            watcher.set()

    # The methods are named by the protocol.
    async def Check(self, request: Any, context: Any) -> Any:
        """Return the status of a name."""
        status = self._statuses.get(request.service)
        if status is None:
            await context.abort(
                grpc.StatusCode.NOT_FOUND,
                f"no service {request.service!r} here; List tells those there are",
            )
        return health_pb2.HealthCheckResponse(status=status)

    async def Watch(self, request: Any, context: Any) -> AsyncIterator[Any]:
        """Yield the status of a name now and whenever it changes, until the server stops."""
        unknown = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
        watcher, told = asyncio.Event(), None
        self._watchers.add(watcher)
        try:
            while True:
                watcher.clear()
                status = self._statuses.get(request.service, unknown)
                if status != told:
                    told = status
                    yield health_pb2.HealthCheckResponse(status=status)
                elif self._is_closed:
                    break
                else:
                    await watcher.wait()
        finally:
            self._watchers.discard(watcher)
        await context.abort(grpc.StatusCode.UNAVAILABLE, "the server is stopping")

    async def List(self, request: Any, context: Any) -> Any:
        """Return the status of every name there is."""
        return _pb.HealthListResponse(
            statuses={
                name: health_pb2.HealthCheckResponse(status=status)
                for name, status in self._statuses.items()
            }
        )

"""`grpc.health.v1.Health`, with the one method that grpcio-health-checking leaves out."""

from __future__ import annotations

from typing import Any

from grpc_health.v1 import health, health_pb2

_pb: Any = health_pb2  # whose stubs do not know `List` yet


class HealthServicer(health.aio.HealthServicer):
    """Says of names whether they are served. Belongs to one event loop."""

    def __init__(self) -> None:
        """Start with the server as a whole, which serves."""
        super().__init__()
        self._statuses = {"": health_pb2.HealthCheckResponse.SERVING}

    async def set(self, service: str, status: Any) -> None:
        """Set the status of a name; who watches it hears of it."""
        self._statuses[service] = status
        await super().set(service, status)

    # Named by the protocol.
    async def List(self, request: Any, context: Any) -> Any:
        """Return the status of every name there is."""
        return _pb.HealthListResponse(
            statuses={
                name: health_pb2.HealthCheckResponse(status=status)
                for name, status in self._statuses.items()
            }
        )

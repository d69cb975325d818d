"""The standard health check, `grpc.health.v1`. Pure."""

from __future__ import annotations

import grpc

from siren_client import _wire
from siren_client.errors import SirenError
from siren_client.types import ServingStatus

CHECK_METHOD = "/grpc.health.v1.Health/Check"
SPEECH_SERVICE = "siren.v1.SpeechService"

_STATUSES = {
    0: ServingStatus.UNKNOWN,
    1: ServingStatus.SERVING,
    2: ServingStatus.NOT_SERVING,
    3: ServingStatus.SERVICE_UNKNOWN,
}


def serialize_check(service: str) -> bytes:
    """Make the bytes of a request; the empty name asks for the whole server."""
    data: bytes = _wire.HealthCheckRequest(service=service).SerializeToString()
    return data


def parse_check(data: bytes) -> ServingStatus:
    """Read the bytes of a response."""
    response = _wire.HealthCheckResponse.FromString(data)
    return _STATUSES.get(response.status, ServingStatus.UNKNOWN)


def status_of_failure(error: SirenError) -> ServingStatus:
    """Return what a check that failed says of the service. Raises the error if it says nothing."""
    if error.status is grpc.StatusCode.NOT_FOUND:
        return ServingStatus.SERVICE_UNKNOWN
    raise error

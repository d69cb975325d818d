"""Errors as rich gRPC statuses (promise 6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2  # type: ignore[import-untyped]
from grpc_status import rpc_status

from siren_grpc.domain.errors import Reason, SirenError

DOMAIN = "siren"
_PUSHBACK = "grpc-retry-pushback-ms"

_CODES = {
    Reason.AUTH_FAILED: code_pb2.UNAUTHENTICATED,
    Reason.INVALID_MESSAGE: code_pb2.INVALID_ARGUMENT,
    Reason.INVALID_CONFIG: code_pb2.INVALID_ARGUMENT,
    Reason.INVALID_AUDIO: code_pb2.INVALID_ARGUMENT,
    Reason.MODEL_NOT_FOUND: code_pb2.NOT_FOUND,
    Reason.OVERLOADED: code_pb2.RESOURCE_EXHAUSTED,
    Reason.AUDIO_TOO_FAST: code_pb2.RESOURCE_EXHAUSTED,
    Reason.IDLE_TIMEOUT: code_pb2.DEADLINE_EXCEEDED,
    Reason.SESSION_TOO_LONG: code_pb2.OUT_OF_RANGE,
    Reason.SHUTTING_DOWN: code_pb2.UNAVAILABLE,
    Reason.MODEL_ERROR: code_pb2.INTERNAL,
    Reason.INTERNAL_ERROR: code_pb2.INTERNAL,
}


Trailers: TypeAlias = tuple[tuple[str, str | bytes], ...]
"""Trailing metadata."""


def to_status(
    error: SirenError, *, session_id: str | None = None, trailers: Trailers = ()
) -> grpc.Status:
    """Return the status of an error: code, message, and the details as google.rpc messages.

    session_id: names the stream in the server's log; added to the ErrorInfo. trailers: sent with
    it. A retry that can help is told to gRPC's own retry policy, too (`grpc-retry-pushback-ms`,
    gRFC A6): it heeds that where nothing was answered yet.
    """
    info = error_details_pb2.ErrorInfo(reason=error.reason.value, domain=DOMAIN)
    if session_id is not None:
        info.metadata["session_id"] = session_id
    details = [_packed(info)]
    if error.violations:
        violations = [
            error_details_pb2.BadRequest.FieldViolation(field=v.field, description=v.description)
            for v in error.violations
        ]
        details.append(_packed(error_details_pb2.BadRequest(field_violations=violations)))
    if error.retry_after_s is not None:
        retry_ms = round(error.retry_after_s * 1000)
        delay = duration_pb2.Duration()
        delay.FromMilliseconds(retry_ms)
        details.append(_packed(error_details_pb2.RetryInfo(retry_delay=delay)))
        trailers = (*trailers, (_PUSHBACK, str(retry_ms)))
    status = status_pb2.Status(code=_CODES[error.reason], message=error.message, details=details)
    rich = rpc_status.to_status(status)
    return _Status(rich.code, rich.details, (*rich.trailing_metadata, *trailers))


@dataclass(frozen=True, slots=True)
class _Status(grpc.Status):
    code: grpc.StatusCode
    details: str
    trailing_metadata: tuple[tuple[str, str | bytes], ...]


def _packed(message: object) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(message)  # type: ignore[arg-type]  # the stubs of google.rpc are no Messages to mypy
    return packed

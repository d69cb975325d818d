"""Errors of the server, read from the rich status of a failed call."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from siren_client import _wire
from siren_client.convert import from_duration

_DETAILS_KEY = "grpc-status-details-bin"
_SESSION_KEY = "siren-session-id"
_DOMAIN = "siren"


class Reason(str, Enum):
    """Why the server refused or ended a call. Each comes with one gRPC status."""

    AUTH_FAILED = "AUTH_FAILED"
    """UNAUTHENTICATED: missing or wrong token."""
    INVALID_MESSAGE = "INVALID_MESSAGE"
    """INVALID_ARGUMENT: messages in an order the protocol does not allow."""
    INVALID_CONFIG = "INVALID_CONFIG"
    """INVALID_ARGUMENT: an option the server or model does not support; `violations`
    names the field and the message lists what is supported."""
    INVALID_AUDIO = "INVALID_AUDIO"
    """INVALID_ARGUMENT: audio that does not decode in the declared encoding."""
    MODEL_NOT_FOUND = "MODEL_NOT_FOUND"
    """NOT_FOUND: unknown model id; the message lists the known ones."""
    OVERLOADED = "OVERLOADED"
    """RESOURCE_EXHAUSTED: no room for another session; try again after `retry_after_s`."""
    AUDIO_TOO_FAST = "AUDIO_TOO_FAST"
    """RESOURCE_EXHAUSTED: more audio than the server takes at once."""
    IDLE_TIMEOUT = "IDLE_TIMEOUT"
    """DEADLINE_EXCEEDED: nothing was sent for the server's configured time."""
    SESSION_TOO_LONG = "SESSION_TOO_LONG"
    """OUT_OF_RANGE: the stream's maximum of audio; the final for what was heard came first."""
    SHUTTING_DOWN = "SHUTTING_DOWN"
    """UNAVAILABLE: the server stops; the final for what was heard came first."""
    MODEL_ERROR = "MODEL_ERROR"
    """INTERNAL: recognition failed for this stream."""
    INTERNAL_ERROR = "INTERNAL_ERROR"
    """INTERNAL: anything else; the server's log has the cause under the session id."""


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """A field of the request that the server does not accept."""

    field: str
    """Path of the field, such as `config.chunk_frames`."""
    description: str
    """What is wrong with it."""


class SirenError(Exception):
    """A call that failed.

    Attributes:
        status: The gRPC status, also for failures that never reached the server
            (`UNAVAILABLE`: nobody answers; `DEADLINE_EXCEEDED`: the timeout passed).
        reason: Why, as the server says: a `Reason`, a plain string for one this
            client does not know (members compare equal to strings), None if the
            server gave none.
        message: What happened, for a person to read.
        retry_after_s: Seconds after which a retry may help; None if the server
            gave none.
        violations: The fields the server does not accept.
        session_id: The stream or recording in the server's log; None for a call that
            did not get so far.
    """

    def __init__(
        self,
        status: grpc.StatusCode,
        message: str,
        *,
        reason: Reason | str | None = None,
        retry_after_s: float | None = None,
        violations: tuple[FieldViolation, ...] = (),
        session_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.reason = reason
        self.retry_after_s = retry_after_s
        self.violations = violations
        self.session_id = session_id

    def __reduce__(self) -> tuple[Any, ...]:
        """Say how to make it again: it may be raised in another process."""
        attributes = dict(self.__dict__)
        return (
            _make_again,
            (type(self), attributes.pop("status"), attributes.pop("message")),
            attributes,
        )

    def __str__(self) -> str:
        reason = self.reason.value if isinstance(self.reason, Reason) else self.reason
        return f"{reason or self.status.name}: {self.message}"


def _make_again(kind: type[SirenError], status: grpc.StatusCode, message: str) -> SirenError:
    return kind(status, message)


def to_siren_error(
    status: grpc.StatusCode,
    message: str | None,
    metadata: Iterable[tuple[str, str | bytes]] | None,
) -> SirenError:
    """Read an error from a status and the trailing metadata that came with it.

    Details that are damaged, or of a kind or domain this client does not know,
    are left out: the status itself always holds.
    """
    reason: str | None = None
    retry_after_s: float | None = None
    violations: tuple[FieldViolation, ...] = ()
    pairs = tuple(metadata or ())
    session_id = next((value for key, value in pairs if key == _SESSION_KEY), None)
    for detail in _details(pairs):
        match detail.type_url.rpartition("/")[2]:
            case "google.rpc.ErrorInfo":
                error = _decode(_wire.ErrorInfo, detail.value)
                if error is not None and error.domain == _DOMAIN:
                    reason = error.reason
            case "google.rpc.RetryInfo":
                retry = _decode(_wire.RetryInfo, detail.value)
                if retry is not None:
                    retry_after_s = from_duration(retry.retry_delay)
            case "google.rpc.BadRequest":
                bad_request = _decode(_wire.BadRequest, detail.value)
                if bad_request is not None:
                    violations = tuple(
                        FieldViolation(violation.field, violation.description)
                        for violation in bad_request.field_violations
                    )
    return SirenError(
        status,
        message or "the server gave no message",
        reason=_to_reason(reason),
        retry_after_s=retry_after_s,
        violations=violations,
        session_id=session_id if isinstance(session_id, str) else None,
    )


@contextmanager
def siren_errors() -> Iterator[None]:
    """Raise `SirenError` for a gRPC error in the body, which may await."""
    try:
        yield
    except grpc.RpcError as error:
        # Pairs of key and value; types-grpcio has another shape for this one method.
        metadata: Any = error.trailing_metadata()
        raise to_siren_error(error.code(), error.details(), metadata) from error


def _details(metadata: Iterable[tuple[str, str | bytes]] | None) -> list[Any]:
    for key, value in metadata or ():
        if key == _DETAILS_KEY and isinstance(value, bytes):
            status = _decode(_wire.Status, value)
            return [] if status is None else list(status.details)
    return []


def _decode(message_class: Any, data: bytes) -> Any | None:
    try:
        return message_class.FromString(data)
    except DecodeError:
        return None


def _to_reason(name: str | None) -> Reason | str | None:
    if not name:
        return None
    try:
        return Reason(name)
    except ValueError:
        return name

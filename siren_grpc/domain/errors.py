"""Every way a stream can fail, one class for each reason of the contract (promise 6)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum

_MOST_BYTES = 1000
"""Of a text for a client: it travels in headers, three times, and clients take 8 KiB of those."""
_HEAD_BYTES, _TAIL_BYTES = 600, 380
_MOST_LISTED_BYTES = 2400
"""Of all violations together, for the same reason."""
_VIOLATION_BYTES = 8
"""What each takes beside its texts."""
_MOST_TOGETHER_BYTES = 500
"""Of a message that tells of several fields; one that cannot tells of the first."""


class Reason(str, Enum):
    """`google.rpc.ErrorInfo.reason` of an error, domain `siren`."""

    AUTH_FAILED = "AUTH_FAILED"
    INVALID_MESSAGE = "INVALID_MESSAGE"
    INVALID_CONFIG = "INVALID_CONFIG"
    INVALID_AUDIO = "INVALID_AUDIO"
    MODEL_NOT_FOUND = "MODEL_NOT_FOUND"
    OVERLOADED = "OVERLOADED"
    AUDIO_TOO_FAST = "AUDIO_TOO_FAST"
    IDLE_TIMEOUT = "IDLE_TIMEOUT"
    SESSION_TOO_LONG = "SESSION_TOO_LONG"
    SHUTTING_DOWN = "SHUTTING_DOWN"
    MODEL_ERROR = "MODEL_ERROR"
    INTERNAL_ERROR = "INTERNAL_ERROR"


@dataclass(frozen=True)
class FieldViolation:
    """One invalid field: its path in the request, and what would be right."""

    field: str
    description: str


def _shortened(text: str) -> str:
    """Keep the beginning, which says what is wrong, and the end, which says what would be right."""
    data = text.encode(errors="replace")
    if len(data) <= _MOST_BYTES:
        return text
    head, tail = data[:_HEAD_BYTES], data[-_TAIL_BYTES:]
    return f"{head.decode(errors='ignore')} [...] {tail.decode(errors='ignore')}"


def _listed(violations: Iterable[FieldViolation]) -> tuple[FieldViolation, ...]:
    """Return the first violations, shortened, as many as a status may hold; one in any case."""
    listed: list[FieldViolation] = []
    n_bytes = 0
    for violation in violations:
        short = replace(violation, description=_shortened(violation.description))
        n_bytes += len((short.field + short.description).encode(errors="replace"))
        n_bytes += _VIOLATION_BYTES
        if listed and n_bytes > _MOST_LISTED_BYTES:
            break
        listed.append(short)
    return tuple(listed)


class SirenError(Exception):
    """An error a client is told about. Its message is written for the client."""

    reason: Reason

    def __init__(
        self,
        message: str,
        *,
        violations: tuple[FieldViolation, ...] = (),
        retry_after_s: float | None = None,
    ) -> None:
        """Describe the error.

        message: says what was wrong and what would be right; no stack, no secret. The middle of a
        long one is left out.
        violations: the invalid fields, when the fault lies in single fields; of many, the first
        are kept.
        retry_after_s: seconds after which the same request may succeed; None if it never will.
        """
        # Both repeat what the client sent, however long that was.
        self.message = _shortened(message)
        super().__init__(self.message)
        self.violations = _listed(violations)
        self.retry_after_s = retry_after_s


class AuthFailed(SirenError):
    """A call showed no token, or none that is good here (any more)."""

    reason = Reason.AUTH_FAILED


class InvalidMessage(SirenError):
    """The messages of a stream came in an order the protocol does not allow."""

    reason = Reason.INVALID_MESSAGE


class InvalidConfig(SirenError):
    """A config asks for something this server or model does not support."""

    reason = Reason.INVALID_CONFIG
    n_unlisted = 0
    """Invalid fields beside those in `violations`, which holds no more than fit in a status."""

    @classmethod
    def of_field(cls, field: str, description: str) -> InvalidConfig:
        """Build the error of a single config field; the description becomes the message too."""
        return cls._of_path(f"config.{field}", description)

    @classmethod
    def _of_path(cls, path: str, description: str) -> InvalidConfig:
        return cls.of_fields((FieldViolation(path, description),))

    @classmethod
    def of_fields(
        cls, violations: Sequence[FieldViolation], *, n_unlisted: int = 0
    ) -> InvalidConfig:
        """Build the error of one field or several, in the order a client is to hear of them.

        violations: at least one. n_unlisted: invalid fields there are beside them. The message
        tells of all where it stays short, and otherwise of the first and how many more there are.
        """
        texts = [f"{violation.field}: {violation.description}" for violation in violations]
        message, n_more = ". ".join(texts), len(texts) - 1 + n_unlisted
        if n_unlisted or (n_more and len(message.encode(errors="replace")) > _MOST_TOGETHER_BYTES):
            fields = "fields" if n_more > 1 else "field"
            message = f"{texts[0]} (and {n_more} more invalid {fields})"
        error = cls(message, violations=tuple(violations))
        error.n_unlisted = n_unlisted + len(violations) - len(error.violations)
        return error

    @classmethod
    def of_resume(cls, field: str, description: str) -> InvalidConfig:
        """Build the error of a stream that cannot be resumed here, by a field of `resume`."""
        return cls._of_path(f"resume.{field}", description)

    def in_update(self) -> InvalidConfig:
        """Return the same error of the same fields in an update."""
        moved = [
            replace(violation, field="update" + violation.field.removeprefix("config"))
            for violation in self.violations
        ]
        return self.of_fields(moved, n_unlisted=self.n_unlisted)


class InvalidAudio(SirenError):
    """The bytes sent do not decode in the declared encoding."""

    reason = Reason.INVALID_AUDIO


class ModelNotFound(SirenError):
    """No such model on this server."""

    reason = Reason.MODEL_NOT_FOUND


class RefusalCause(str, Enum):
    """Why there was no session for a call; for the operator, who counts them."""

    SESSIONS = "sessions"
    LIVE_ONLY = "live_only"
    BEHIND = "behind"
    TOO_MUCH = "too_much"
    MEMORY = "memory"
    LOADING = "loading"
    DRAINING = "draining"
    QUOTA = "quota"
    OTHER = "other"


class Overloaded(SirenError):
    """There is no session to be had, or no memory for one that runs."""

    reason = Reason.OVERLOADED
    cause = RefusalCause.OTHER

    def because(self, cause: RefusalCause) -> Overloaded:
        """Return the error with its cause."""
        self.cause = cause
        return self


class QuotaExceeded(Overloaded):
    """The principal of the call has had all that it may; others are served."""

    cause = RefusalCause.QUOTA


class AudioTooFast(SirenError):
    """Unprocessed audio passed its bound; reserved, for flow control keeps it from happening."""

    reason = Reason.AUDIO_TOO_FAST


class IdleTimeout(SirenError):
    """The client sent nothing for the configured time."""

    reason = Reason.IDLE_TIMEOUT


class SessionTooLong(SirenError):
    """The stream reached the configured maximum of audio."""

    reason = Reason.SESSION_TOO_LONG


class ShuttingDown(SirenError):
    """The server is stopping."""

    reason = Reason.SHUTTING_DOWN


class ModelError(SirenError):
    """Recognition failed for one stream; the cause is in the server's log."""

    reason = Reason.MODEL_ERROR


class InternalError(SirenError):
    """Anything unexpected; the cause is in the server's log."""

    reason = Reason.INTERNAL_ERROR

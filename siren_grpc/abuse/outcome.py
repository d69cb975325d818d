"""What a server did to an abusive request, and whether it may."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

_OK, _UNKNOWN, _INTERNAL = "OK", "UNKNOWN", "INTERNAL"
#: What gRPC itself answers without a message: its health service of a service that it does not
#: know, and its core, at times, to metadata past the limit.
_TERSE = frozenset({"NOT_FOUND", "RESOURCE_EXHAUSTED"})
ANY_FAULT_OF_THE_CLIENT = frozenset(
    {
        *("INVALID_MESSAGE", "INVALID_CONFIG", "INVALID_AUDIO"),
        *("MODEL_NOT_FOUND", "SESSION_TOO_LONG"),
    }
)


class Kind(str, Enum):
    """How a request came to its end."""

    STATUS = "status"
    """With a gRPC status."""
    HTTP = "HTTP status"
    """With a status of HTTP only: gRPC never saw a call."""
    RESET = "RST_STREAM"
    GOAWAY = "GOAWAY"
    CLOSED = "closed"
    SERVED = "connection still good"
    """The server took it calmly, and answers pings."""
    LEFT = "left"
    """The client vanished, as it meant to."""
    HANGS = "hangs"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a request came to its end. code: its gRPC status by name. reason: of the ErrorInfo."""

    kind: Kind
    code: str = ""
    reason: str = ""
    message: str = ""

    @property
    def label(self) -> str:
        """The name it is counted under."""
        if self.kind is not Kind.STATUS:
            return str(self.kind.value)
        return f"{self.code} {self.reason}".strip()


def violation(
    outcome: Outcome, expected: frozenset[str], *, is_grpcs_own: bool = False
) -> str | None:
    """Return what is wrong with an outcome, None if nothing is.

    expected: reasons of ErrorInfo, `OK`, and codes where gRPC itself answers; empty: whatever is
    defined. is_grpcs_own: gRPC may refuse it before the server's code sees it, without a reason.
    """
    if outcome.kind is Kind.HANGS:
        return "no answer within the deadline"
    if outcome.kind is not Kind.STATUS:
        return None if is_grpcs_own else f"no status, but: {outcome.kind.value}"
    if outcome.code == _UNKNOWN or (outcome.code == _INTERNAL and not is_grpcs_own):
        return f"{outcome.code} means a fault of the server: {outcome.message}"
    if outcome.code == _INTERNAL and outcome.reason:
        return f"a fault of the server: {outcome.reason}: {outcome.message}"
    is_terse = is_grpcs_own and not outcome.reason and outcome.code in _TERSE
    if outcome.code != _OK and not outcome.message and not is_terse:
        return f"{outcome.label} without a message"
    if outcome.reason == "OVERLOADED":
        return None  # true at any time
    if not outcome.reason and outcome.code != _OK and not is_grpcs_own:
        return f"{outcome.code} without an ErrorInfo: {outcome.message}"
    if expected and not expected & {outcome.reason, outcome.code}:
        return f"{outcome.label} instead of {' or '.join(sorted(expected))}: {outcome.message}"
    return None

"""When and how often a stream whose connection broke is taken up again. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import grpc

from siren_client.errors import Reason, SirenError

_BREAKS = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.INTERNAL,  # a stream reset
    grpc.StatusCode.UNKNOWN,  # a stream reset, too, where no status came
}
_GROWTH = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconnect:
    """How a stream goes on when its connection breaks or its server goes away.

    First the stream is resumed where it was, if its server is there and still keeps it. If not,
    the audio since the last final, or since the recogniser's last fresh start, is sent again in
    a new stream, to whichever server is reached. Compressed audio is sent again from its start.
    Streams with separate channels do not go on: they fail.

    A server that is going to stop is left between two utterances, if another can be reached by
    then; else when it ends the stream.
    """

    deadline_s: float = 30.0
    """Seconds without a connection after which the stream fails with what it broke with."""
    first_delay_s: float = 0.1
    """Before the second attempt; the first is made at once, and each later one waits twice as
    long, less a random part, or as long as the server says."""
    max_delay_s: float = 5.0
    """The longest wait between two attempts, unless the server says otherwise."""
    max_buffer_bytes: int = 32 << 20
    """Audio kept to be sent again: 17 minutes of 16 kHz LINEAR16. An utterance that is longer
    can be resumed, but not sent again."""

    def __post_init__(self) -> None:
        """Raise ValueError for what makes no sense."""
        if self.deadline_s < 0 or self.first_delay_s < 0 or self.max_delay_s < 0:
            raise ValueError("deadline_s, first_delay_s and max_delay_s cannot be negative")
        if self.max_buffer_bytes < 0:
            raise ValueError("max_buffer_bytes cannot be negative")

    def delay_s(self, attempt: int, *, jitter: float, at_least_s: float | None) -> float:
        """Return the wait before an attempt, counted from 0.

        jitter: in [0, 1), random, so that the clients of a server do not all come back at once.
        at_least_s: what the server asked for, if it did.
        """
        delay = 0.0
        if attempt > 0:
            longest = min(self.first_delay_s * _GROWTH ** min(attempt - 1, 30), self.max_delay_s)
            delay = longest * (1 - jitter / 2)
        return max(delay, at_least_s or 0.0)


DEFAULT_RECONNECT = Reconnect()
"""What streams do unless told otherwise: a network that blinks is no reason to lose words."""

LEAVE_S = 0.2
"""How long telling a server that a stream is left may take."""


MOVE_CHECK_S = 1.0
"""How long asking for another server may take."""


def moved() -> SirenError:
    """Return what a call is given up with that leaves a server which is going to stop."""
    return SirenError(
        grpc.StatusCode.UNAVAILABLE, "the server is going to stop", reason=Reason.SHUTTING_DOWN
    )


def is_break(error: SirenError, *, is_reconnecting: bool) -> bool:
    """Whether a stream that ended so may go on in another call.

    is_reconnecting: it has not been answered since the last break: a server that is full or not
    ready yet is worth waiting for then.
    """
    if error.reason is Reason.OVERLOADED:
        return is_reconnecting
    if error.reason in (Reason.SHUTTING_DOWN, Reason.INTERNAL_ERROR):
        return True
    return error.reason is None and error.status in _BREAKS


def is_stream_gone(error: SirenError) -> bool:
    """Whether the server does not hold the stream any more: there is nothing to resume."""
    if error.reason in (Reason.SHUTTING_DOWN, Reason.INTERNAL_ERROR):
        return True
    return is_refused_resume(error)


def is_refused_resume(error: SirenError) -> bool:
    """Whether the server knows no stream by the token, or not what followed the last result."""
    return any(violation.field.startswith("resume.") for violation in error.violations)

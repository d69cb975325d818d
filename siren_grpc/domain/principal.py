"""Who calls, and how much they may have."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Principal:
    """Who a call belongs to.

    name: a token's name, `jwt:` and the subject of a JWT, `cert:` and the name in a client
    certificate, or `anonymous`. It is printable, and no secret: logs and metrics may show it.
    """

    name: str


ANONYMOUS = Principal("anonymous")
"""Whoever calls a server that asks nobody who they are."""


@dataclass(frozen=True, slots=True)
class Quota:
    """How much a principal may have; None for as much as there is.

    sessions: at once. audio_s_per_hour, audio_s_per_day: seconds of audio in any hour or day.
    """

    sessions: int | None = None
    audio_s_per_hour: float | None = None
    audio_s_per_day: float | None = None

    @property
    def is_unlimited(self) -> bool:
        """Whether there is nothing to count."""
        return (self.sessions, self.audio_s_per_hour, self.audio_s_per_day) == (None, None, None)

    def or_else(self, default: Quota) -> Quota:
        """Return this quota, with a default's limits where it has none of its own."""
        return Quota(
            default.sessions if self.sessions is None else self.sessions,
            default.audio_s_per_hour if self.audio_s_per_hour is None else self.audio_s_per_hour,
            default.audio_s_per_day if self.audio_s_per_day is None else self.audio_s_per_day,
        )


UNLIMITED = Quota()


@dataclass(frozen=True, slots=True)
class Caller:
    """A principal, and the quota that what it showed grants it."""

    principal: Principal = ANONYMOUS
    quota: Quota = UNLIMITED


ANONYMOUS_CALLER = Caller()

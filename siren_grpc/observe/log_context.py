"""Whose log line it is: what every line written on behalf of a call carries.

Set once a call, in its task's context; tasks it starts see the same object, and so what is learnt
later.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol


class CallNames(Protocol):
    """What a call is called: `server.call_id.CallId`."""

    @property
    def session(self) -> str:
        """The session's id."""
        ...

    @property
    def request(self) -> str:
        """The client's own id; empty for none."""
        ...

    @property
    def principal_name(self) -> str:
        """Who calls, as authentication has found out; empty for nobody in particular."""
        ...


@dataclass(slots=True)
class LogContext:
    """A call's names.

    engine_session: the session's number in the engine's process; 0 while it has none. trace_id:
    of the call's trace, in hexadecimal; empty without one.
    """

    names: CallNames
    engine_session: int = 0
    trace_id: str = ""


_context: ContextVar[LogContext | None] = ContextVar("siren_log_context", default=None)


def current_call() -> LogContext | None:
    """Return the context of the call that this code runs for, None outside of one."""
    return _context.get()


def enter_call(names: CallNames) -> LogContext:
    """Begin the context of the call that this task, of its own, runs for; return it."""
    context = LogContext(names)
    _context.set(context)
    return context

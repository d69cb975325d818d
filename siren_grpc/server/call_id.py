"""By what names a call is found in logs: the server's, the client's own, and whose it is."""

from __future__ import annotations

import re
import uuid

from siren_grpc.domain.errors import InvalidConfig
from siren_grpc.domain.principal import ANONYMOUS, ANONYMOUS_CALLER, Caller, Principal
from siren_grpc.server.status import Trailers

_MAX_CHARS = 128
_PRINTABLE = re.compile(r"[!-~]([ -~]*[!-~])?")
"""ASCII without spaces at its ends: what an HTTP/2 header may hold."""


class CallId:
    """The session's id, and the request's once its config is read."""

    def __init__(self, caller: Caller = ANONYMOUS_CALLER) -> None:
        """Make up a session id. caller: who makes the call."""
        self.session = uuid.uuid4().hex
        self.caller = caller
        self.request = ""

    @property
    def principal(self) -> Principal:
        """Whose the call is."""
        return self.caller.principal

    @property
    def principal_name(self) -> str:
        """What logs and lists of sessions call its principal; empty for the anonymous one."""
        return "" if self.principal == ANONYMOUS else self.principal.name

    def take_request(self, request_id: str) -> None:
        """Take over the client's own id; empty for none.

        Raises InvalidConfig for one that is too long, or that no log line and header can hold.
        """
        if not request_id:
            return
        if len(request_id) > _MAX_CHARS:
            raise InvalidConfig.of_field(
                "request_id", f"{len(request_id)} characters; use {_MAX_CHARS} at most"
            )
        if not _PRINTABLE.fullmatch(request_id):
            raise InvalidConfig.of_field(
                "request_id",
                f"{request_id!a}; use printable ASCII characters, without a space at the ends",
            )
        self.request = request_id

    def __str__(self) -> str:
        """Return what log lines call it."""
        names = [f"request {self.request}"] if self.request else []
        if self.principal_name:
            names.append(f"of {self.principal_name}")
        return f"{self.session} ({', '.join(names)})" if names else self.session

    @property
    def trailers(self) -> Trailers:
        """What the call's trailing metadata call it."""
        session = (("siren-session-id", self.session),)
        return (*session, ("siren-request-id", self.request)) if self.request else session

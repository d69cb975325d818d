"""Asks every call who it is, before its handler and before any of its messages is read."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextvars import ContextVar
from time import monotonic
from typing import Any, TypeAlias

import grpc

from siren_grpc.domain.errors import AuthFailed
from siren_grpc.domain.principal import ANONYMOUS_CALLER, Caller
from siren_grpc.server.security.authenticator import Authenticator
from siren_grpc.server.security.config import SecurityConfig
from siren_grpc.server.status import to_status

_log = logging.getLogger(__name__)
_Details: TypeAlias = grpc.HandlerCallDetails
# Generic for mypy only:
_Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
_Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
_HEALTH = ("/grpc.health.v1.Health/", "/xds.service.orca.v3.OpenRcaService/")
"""How a server is, and how loaded: what balancers ask, which have no token."""
_REFLECTION = (
    "/grpc.reflection.v1.ServerReflection/",
    "/grpc.reflection.v1alpha.ServerReflection/",
)
_LOG_EVERY_S = 1.0

_caller: ContextVar[Caller] = ContextVar("caller", default=ANONYMOUS_CALLER)


class AuthInterceptor(grpc.aio.ServerInterceptor):
    """Lets calls pass that show who they are; whatever service is added wants it, too."""

    def __init__(
        self,
        authenticator: Authenticator,
        config: SecurityConfig,
        on_refused: Callable[[str], None],
    ) -> None:
        """Ask an authenticator.

        config: says which services are open to everybody. on_refused: told the path of each call
        that is refused, as its client wrote it.
        """
        self._authenticator = authenticator
        self._on_refused = on_refused
        self._open = (_HEALTH if config.open_health else ()) + (
            _REFLECTION if config.open_reflection else ()
        )
        self._refusals = _RefusalLog()

    async def intercept_service(
        self,
        continuation: Callable[[_Details], Awaitable[_Handler | None]],
        handler_call_details: _Details,
    ) -> _Handler | None:
        """See `grpc.aio.ServerInterceptor`. The caller is where `caller_of` finds it."""
        method = handler_call_details.method
        if not method.startswith(self._open):
            try:
                authorization = _authorization(handler_call_details)
                _caller.set(self._authenticator.authenticate(authorization))
            except AuthFailed as error:
                return self._refuse(method, error)
        return await continuation(handler_call_details)

    def _refuse(self, method: str, error: AuthFailed) -> _Handler:
        # Of whichever kind the method is: nothing is read, and nothing but the status sent.
        async def abort(_: AsyncIterator[bytes], context: _Context) -> None:
            self._refusals.note(method, context.peer(), error)
            self._on_refused(method)
            await context.abort_with_status(to_status(error))

        return grpc.stream_stream_rpc_method_handler(abort)


def caller_of(context: _Context, authenticator: Authenticator | None) -> Caller:
    """Return who makes a call, for its handler.

    authenticator: names those who show a client certificate and no token; None where there are
    none.
    """
    caller = _caller.get()
    if caller.principal is not ANONYMOUS_CALLER.principal or authenticator is None:
        return caller
    shown = context.auth_context()
    names = shown.get("x509_common_name") or context.peer_identities() or ()
    for name in names:
        return authenticator.of_certificate(name.decode("utf-8", "surrogateescape"))
    return caller


def _authorization(details: _Details) -> str | None:
    """Return the first value of the metadata that is there to say who calls."""
    for key, value in details.invocation_metadata or ():
        if key == "authorization":
            return value if isinstance(value, str) else value.decode("latin-1")
    return None


class _RefusalLog:
    """A line for a refused call, and one a second for many: a flood must not fill the disk."""

    def __init__(self) -> None:
        self._next_at = float("-inf")
        self._n_untold = 0

    def note(self, method: str, peer: str, error: AuthFailed) -> None:
        now = monotonic()
        if now < self._next_at:
            self._n_untold += 1
            return
        more = f" ({self._n_untold} more since the last line)" if self._n_untold else ""
        _log.info("%s from %s: %s: %s%s", method, peer, error.reason.value, error.message, more)
        self._next_at, self._n_untold = now + _LOG_EVERY_S, 0

"""All of a front end's security: who may call, over what, and following the files that say so."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeAlias

import grpc

from siren_grpc.domain.principal import Caller
from siren_grpc.server.security.authenticator import Authenticator
from siren_grpc.server.security.config import SecurityConfig
from siren_grpc.server.security.interceptor import AuthInterceptor, caller_of
from siren_grpc.server.security.tls import Certificates

_Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
_POLL_S = 1.0
"""How long a change of a file may go unnoticed."""


class Guard:
    """Made once for a front end, in its event loop."""

    def __init__(
        self, config: SecurityConfig, on_refused: Callable[[str], None] = lambda path: None
    ) -> None:
        """Read the files. Raises OSError or ValueError, for the operator.

        on_refused: told the path of each call that shows nothing good.
        """
        self._config = config
        self._on_refused = on_refused
        self._authenticator = Authenticator(config)
        self._certificates = None if config.tls is None else Certificates(config.tls)
        self._named_by_certificate = config.has_authentication and not config.wants_token
        self._following: asyncio.Task[None] | None = None

    def interceptors(self) -> tuple[grpc.aio.ServerInterceptor, ...]:
        """Return what stands before every handler."""
        if not self._config.wants_token and self._config.default_quota.is_unlimited:
            return ()
        return (AuthInterceptor(self._authenticator, self._config, self._on_refused),)

    def add_port(self, server: grpc.aio.Server, address: str) -> int:
        """Let a server listen; return the port. Raises RuntimeError when it cannot."""
        if self._certificates is None:
            return int(server.add_insecure_port(address))
        return int(server.add_secure_port(address, self._certificates.credentials()))

    def caller_of(self, context: _Context) -> Caller:
        """Return who makes a call, for its handler."""
        return caller_of(context, self._authenticator if self._named_by_certificate else None)

    def follow(self, on_revoked: Callable[[frozenset[str]], None]) -> None:
        """Read files again when they change, from now on, until `close`.

        on_revoked: told the names whose last token has gone.
        """
        self._following = asyncio.create_task(self._follow(on_revoked), name="security-files")

    def close(self) -> None:
        """Follow no more."""
        if self._following is not None:
            self._following.cancel()

    async def _follow(self, on_revoked: Callable[[frozenset[str]], None]) -> None:
        while True:
            await asyncio.sleep(_POLL_S)
            if self._certificates is not None:
                self._certificates.refresh()
            if revoked := self._authenticator.refresh():
                on_revoked(revoked)

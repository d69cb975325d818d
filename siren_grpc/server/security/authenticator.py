"""From what a call shows to who calls."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from siren_grpc.domain.errors import AuthFailed
from siren_grpc.domain.principal import ANONYMOUS_CALLER, Caller, Principal
from siren_grpc.server.security.config import SecurityConfig
from siren_grpc.server.security.token_table import TokenTable
from siren_grpc.server.security.tokens import read_lines
from siren_grpc.server.security.watched_files import WatchedFiles

if TYPE_CHECKING:
    from siren_grpc.server.security.jwt_tokens import JwtVerifier

_log = logging.getLogger(__name__)
_SCHEME = "bearer "
_MAX_CERTIFICATE_CHARS = 256
_NO_TOKEN = (
    "this server wants a token: send `authorization: Bearer TOKEN` in the call's metadata "
    "(with `siren` by --token-file or SIREN_TOKEN)"
)
_NOT_GOOD = "the token is not accepted here; ask the server's operator for one"


class Authenticator:
    """Knows the tokens and the keys of JWTs, and follows their files. Belongs to one event loop."""

    def __init__(self, config: SecurityConfig, *, clock: Callable[[], float] = time.time) -> None:
        """Read the files. clock: seconds since 1970.

        Raises OSError or ValueError, for the operator, when one cannot be read or understood.
        """
        self._config = config
        self._clock = clock
        self._jwts: JwtVerifier | None = None
        self._watches: list[tuple[WatchedFiles, Callable[[], None]]] = []
        self._table = TokenTable(config.tokens, key=config.token_key)
        if config.tokens_file is not None:
            self._watch(config.tokens_file, self._read_tokens)
        if config.jwt is not None:
            self._watch(config.jwt.jwks_file, self._read_jwks)

    @property
    def names(self) -> frozenset[str]:
        """Whose tokens there are; JWTs not counted."""
        return self._table.names

    def authenticate(self, authorization: str | None) -> Caller:
        """Return who calls. authorization: the value of the metadata, None if there is none.

        Raises AuthFailed, which never tells whether part of a token was right.
        """
        if not self._config.wants_token:
            return self._with_default(ANONYMOUS_CALLER)
        if authorization is None:
            raise AuthFailed(_NO_TOKEN)
        if authorization[: len(_SCHEME)].lower() != _SCHEME:
            raise AuthFailed("the authorization is no bearer token: send `Bearer TOKEN`")
        token = authorization[len(_SCHEME) :].strip()
        record = self._table.find(token)
        if record is not None:
            if record.expires_at is not None and self._clock() >= record.expires_at:
                raise AuthFailed("the token has expired; ask the server's operator for a new one")
            return self._with_default(Caller(record.principal, record.quota))
        if self._jwts is not None and token.count(".") == 2:
            return self._with_default(self._jwts.verify(token))
        raise AuthFailed(_NOT_GOOD)

    def of_certificate(self, name: str) -> Caller:
        """Return who showed a client certificate of this name, and no token."""
        return self._with_default(Caller(Principal(f"cert:{_printable(name)}")))

    def refresh(self) -> frozenset[str]:
        """Read again what has changed; return the names whose tokens are all gone.

        A file that cannot be read or understood changes nothing, and the log says so.
        """
        before = self.names
        for files, read in self._watches:
            if files.have_changed():
                try:
                    read()
                except (OSError, ValueError) as error:
                    _log.error("%s; what was read before stays in force", error)
                else:
                    _log.info("%s: read again", files.names)
        return before - self.names

    def _with_default(self, caller: Caller) -> Caller:
        default = self._config.default_quota
        if default.is_unlimited:
            return caller
        return Caller(caller.principal, caller.quota.or_else(default))

    def _watch(self, file: Path, read: Callable[[], None]) -> None:
        self._watches.append((WatchedFiles([file]), read))
        read()

    def _read_tokens(self) -> None:
        file = self._config.tokens_file
        if file is None:
            raise AssertionError("watched only if there is one")
        try:
            records = read_lines(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"tokens_file {file}: {error}") from None
        self._table = TokenTable((*records, *self._config.tokens), key=self._config.token_key)

    def _read_jwks(self) -> None:
        config = self._config.jwt
        if config is None:
            raise AssertionError("watched only if there are JWTs")
        # Imported late: it brings cryptography, which tokens need not wait for.
        from siren_grpc.server.security.jwt_tokens import JwtVerifier

        try:
            self._jwts = JwtVerifier(config, config.jwks_file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"jwt_jwks_file {config.jwks_file}: {error}") from None


def _printable(name: str) -> str:
    """Return a certificate's name as ASCII that a line of the log can hold.

    Different names stay different, for each is a principal of its own: a backslash is escaped,
    too, and a long name ends with its hash.
    """
    shown = name.encode("unicode_escape").decode("ascii")
    if len(shown) <= _MAX_CERTIFICATE_CHARS:
        return shown
    digest = hashlib.sha256(shown.encode()).hexdigest()
    return f"{shown[: _MAX_CERTIFICATE_CHARS - len(digest) - 1]}#{digest}"

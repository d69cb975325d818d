"""What a front end is told about security, in its process of its own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from siren_grpc.domain.principal import UNLIMITED, Quota
from siren_grpc.server.security.tokens import TokenRecord


@dataclass(frozen=True, slots=True)
class JwtConfig:
    """Which JWTs are good.

    algorithms: those of the signature. leeway_s: how far clocks may differ. quota_claim: a claim
    with limits, empty for none.
    """

    jwks_file: Path
    issuer: str
    audience: str
    algorithms: tuple[str, ...]
    leeway_s: float
    quota_claim: str


@dataclass(frozen=True, slots=True)
class TlsConfig:
    """Where the certificates are. client_ca_file: whose certificates clients must show, if any."""

    cert_file: Path
    key_file: Path
    client_ca_file: Path | None


@dataclass(frozen=True, slots=True)
class SecurityConfig:
    """Who may call, and over what.

    tokens: of the environment, hashed with `token_key`. default_quota: of principals, for limits
    they have none of their own of. open_health, open_reflection: answer these without a token.
    """

    tokens_file: Path | None = None
    tokens: tuple[TokenRecord, ...] = ()
    token_key: bytes = b""
    jwt: JwtConfig | None = None
    tls: TlsConfig | None = None
    default_quota: Quota = UNLIMITED
    open_health: bool = True
    open_reflection: bool = True
    health_port: int | None = None

    @property
    def wants_token(self) -> bool:
        """Whether a call needs a token or a JWT."""
        return self.tokens_file is not None or bool(self.tokens) or self.jwt is not None

    @property
    def has_authentication(self) -> bool:
        """Whether a caller must show who they are, be it by a client certificate."""
        return self.wants_token or (self.tls is not None and self.tls.client_ca_file is not None)

    def __repr__(self) -> str:
        """Name no digest and no key."""
        return f"SecurityConfig(wants_token={self.wants_token}, tls={self.tls})"


NO_SECURITY = SecurityConfig()
"""Everybody may call, in plain text."""

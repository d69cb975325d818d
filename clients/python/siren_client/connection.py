"""How to reach a server: what both clients are built from. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import grpc

from siren_client.tls import Tls
from siren_client.token import Token, authorization_of, check_plaintext

Metadata: TypeAlias = Sequence[tuple[str, str | bytes]]
ChannelOptions: TypeAlias = Sequence[tuple[str, str | int]]

# A connection that breaks is made anew within moments, and one that died silently is noticed:
# gRPC's own defaults are a second, then up to two minutes, and never.
_OPTIONS = {
    "grpc.initial_reconnect_backoff_ms": 200,
    "grpc.min_reconnect_backoff_ms": 5000,
    "grpc.max_reconnect_backoff_ms": 2000,
    "grpc.keepalive_time_ms": 20_000,
    "grpc.keepalive_timeout_ms": 10_000,
    # Of a ping that is sent while data waits to be taken; a minute by default.
    "grpc.http2.ping_timeout_ms": 10_000,
    # gRPC's own second attempt at a call the server has not answered loses or repeats messages
    # that were being written when the first one broke (seen with grpcio 1.85): streams are
    # begun anew by this package, which knows what was sent.
    "grpc.enable_retries": 0,
}

DEFAULT_TARGET = "127.0.0.1:50051"


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """Where the server is and what every call to it carries."""

    target: str
    credentials: grpc.ChannelCredentials | None
    options: ChannelOptions
    timeout_s: float | None
    fixed_metadata: tuple[tuple[str, str | bytes], ...]
    token: Token | None = field(repr=False)

    @property
    def metadata(self) -> tuple[tuple[str, str | bytes], ...]:
        """What a call made now carries, with the token of now."""
        return (*self.fixed_metadata, *authorization_of(self.token))


def make_connection(
    target: str,
    *,
    credentials: grpc.ChannelCredentials | Tls | None = None,
    token: Token | None = None,
    plaintext_token: bool = False,
    metadata: Metadata = (),
    options: ChannelOptions = (),
    timeout_s: float | None = None,
) -> Connection:
    """Put a connection together; the token travels as `authorization: Bearer <token>`.

    Raises:
        ValueError: The token would travel in plain text to another machine, and plaintext_token
            does not say that it may.
    """
    if token is not None and credentials is None:
        check_plaintext(target, is_allowed=plaintext_token)
    return Connection(
        target=target,
        credentials=credentials.to_credentials() if isinstance(credentials, Tls) else credentials,
        options=tuple({**_OPTIONS, **dict(options)}.items()),
        timeout_s=timeout_s,
        fixed_metadata=tuple(metadata),
        token=token,
    )

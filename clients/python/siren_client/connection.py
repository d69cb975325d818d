"""How to reach a server: what both clients are built from. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import grpc

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
    metadata: tuple[tuple[str, str | bytes], ...]
    timeout_s: float | None


def make_connection(
    target: str,
    *,
    credentials: grpc.ChannelCredentials | None = None,
    token: str | None = None,
    metadata: Metadata = (),
    options: ChannelOptions = (),
    timeout_s: float | None = None,
) -> Connection:
    """Put a connection together; the token travels as `authorization: Bearer <token>`."""
    authorization = () if token is None else (("authorization", f"Bearer {token}"),)
    return Connection(
        target=target,
        credentials=credentials,
        options=tuple({**_OPTIONS, **dict(options)}.items()),
        metadata=(*metadata, *authorization),
        timeout_s=timeout_s,
    )

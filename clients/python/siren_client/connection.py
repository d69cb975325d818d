"""How to reach a server: what both clients are built from. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import grpc

Metadata: TypeAlias = Sequence[tuple[str, str | bytes]]
ChannelOptions: TypeAlias = Sequence[tuple[str, str | int]]

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
        options=tuple(options),
        metadata=(*metadata, *authorization),
        timeout_s=timeout_s,
    )

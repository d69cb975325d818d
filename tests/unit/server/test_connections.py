from __future__ import annotations

from pathlib import Path

import pytest
from grpc._cython import cygrpc

from siren_client.connection import make_connection
from siren_grpc.server.connections import ConnectionLimits
from siren_grpc.server.drain_server import DrainServer

LIMITS = ConnectionLimits(
    max_message_bytes=1 << 20,
    max_sessions=5000,
    max_connection_age_s=1800,
    max_connection_age_grace_s=3600,
)


@pytest.mark.parametrize(
    "options", [LIMITS.options, DrainServer.OPTIONS, make_connection("here:1").options]
)
def test_grpc_knows_every_option(options: tuple[tuple[str, int], ...]) -> None:
    """It says nothing of those it does not know: a wrong name is a limit that is none."""
    library = Path(cygrpc.__file__).read_bytes()
    assert [name for name, _ in options if name.encode() + b"\0" not in library] == []


def test_many_sessions_fit_one_connection() -> None:
    assert dict(LIMITS.options)["grpc.max_concurrent_streams"] == 10_000


def test_without_an_age_connections_grow_old() -> None:
    limits = ConnectionLimits(
        max_message_bytes=1, max_sessions=1, max_connection_age_s=None, max_connection_age_grace_s=1
    )
    assert not [name for name, _ in limits.options if "age_" in name and "message" not in name]

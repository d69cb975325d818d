"""What the engine's process settles before its front ends start."""

from __future__ import annotations

import socket
from dataclasses import replace

import pytest

from siren_grpc.cli.app_config import app_config
from siren_grpc.config.settings import load_settings
from siren_grpc.server.app import shared
from siren_grpc.server.front_end import FrontEndConfig


def front_end_config(*, port: int = 0, health_port: int | None = None) -> FrontEndConfig:
    config = app_config(load_settings({}, None)).front_end
    security = replace(config.security, health_port=health_port)
    return replace(config, port=port, security=security)


def test_front_ends_share_the_ports_that_the_system_chose() -> None:
    config = shared(front_end_config(health_port=0))
    assert config.shares_port
    assert config.port
    assert config.security.health_port
    assert shared(front_end_config()).security.health_port is None


@pytest.mark.parametrize("name", ["port", "health_port"])
def test_a_port_that_another_server_shares_among_its_own_is_taken(name: str) -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        flag = f"--{name.replace('_', '-')}$"
        with pytest.raises(OSError, match=flag):
            shared(front_end_config(**{name: other.getsockname()[1]}))

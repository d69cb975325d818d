from __future__ import annotations

import socket

import pytest

from siren_grpc.server.bind_error import cannot_listen


def test_a_port_that_is_taken_is_told_with_the_setting_to_change() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        said = str(cannot_listen(address, "admin_port", RuntimeError("set GRPC_VERBOSITY")))
    assert said.startswith(f"cannot listen on {address}: Address already in use; another program")
    assert said.endswith("choose a port with --admin-port")


@pytest.mark.parametrize(
    ("address", "words"),
    [("192.0.2.1:0", "no address of this machine"), ("nowhere.invalid:1", "cannot listen on")],
)
def test_an_address_that_is_not_here_is_told(address: str, words: str) -> None:
    said = str(cannot_listen(address, "port", RuntimeError("set GRPC_VERBOSITY")))
    assert words in said
    assert "GRPC_VERBOSITY" not in said


def test_where_the_system_finds_nothing_wrong_the_cause_is_told() -> None:
    said = str(cannot_listen("[::1]:0", "port", RuntimeError("the certificate is bad")))
    assert said == "cannot listen on [::1]:0: the certificate is bad"

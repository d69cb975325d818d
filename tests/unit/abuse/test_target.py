"""Attacks go nowhere else."""

from __future__ import annotations

import pytest
import typer

from siren_grpc.abuse.requests_command import _of_this_machine


@pytest.mark.parametrize("target", ["127.0.0.1:50051", "localhost:50051", "[::1]:50051", None])
def test_servers_of_this_machine_may_be_attacked(target: str | None) -> None:
    assert _of_this_machine(target) == target


@pytest.mark.parametrize("target", ["192.0.2.1:50051", "[2001:db8::1]:50051", "0.0.0.0:1", "50051"])
def test_others_may_not(target: str) -> None:
    with pytest.raises(typer.BadParameter, match="not an address of this machine"):
        _of_this_machine(target)

"""What the image's HEALTHCHECK runs, against a server of gRPC's own health."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from siren_grpc import probe
from siren_grpc.config.settings import Settings

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
CLOSED_PORT = "1"


@dataclass
class HealthServer:
    servicer: health.HealthServicer
    port: str


@pytest.fixture
def server() -> Iterator[HealthServer]:
    servicer = health.HealthServicer()
    grpc_server = grpc.server(ThreadPoolExecutor(1))
    health_pb2_grpc.add_HealthServicer_to_server(servicer, grpc_server)
    port = grpc_server.add_insecure_port("127.0.0.1:0")
    grpc_server.start()
    yield HealthServer(servicer, str(port))
    grpc_server.stop(None).wait()


@pytest.mark.parametrize(("status", "exit_status"), [(SERVING, 0), (NOT_SERVING, 1)])
def test_it_says_whether_the_server_serves(
    status: int, exit_status: int, server: HealthServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.servicer.set("", status)
    monkeypatch.setenv("SIREN_PORT", server.port)
    monkeypatch.delenv("SIREN_HEALTH_PORT", raising=False)

    assert probe.main() == exit_status


def test_a_port_of_health_alone_is_asked_first(
    server: HealthServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIREN_PORT", CLOSED_PORT)
    monkeypatch.setenv("SIREN_HEALTH_PORT", server.port)
    assert probe.main() == 0

    monkeypatch.setenv("SIREN_PORT", server.port)
    monkeypatch.setenv("SIREN_HEALTH_PORT", "")
    assert probe.main() == 0


def test_a_server_that_is_not_there_does_not_serve(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SIREN_HEALTH_PORT", CLOSED_PORT)

    assert probe.main() == 1
    assert "port 1: UNAVAILABLE" in capsys.readouterr().out


def test_the_port_is_the_servers_own_by_default(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("SIREN_PORT", raising=False)
    monkeypatch.delenv("SIREN_HEALTH_PORT", raising=False)
    monkeypatch.setattr(probe, "ANSWER_S", 0.0)  # whoever may be there

    assert probe.main() == 1
    assert f"port {Settings.model_fields['port'].default}:" in capsys.readouterr().out


def test_as_a_program_it_imports_little_and_no_proxy_misleads_it(server: HealthServer) -> None:
    environment = os.environ | {
        "SIREN_HEALTH_PORT": server.port,
        "http_proxy": f"http://127.0.0.1:{CLOSED_PORT}",
        "no_proxy": "",
        "GRPC_VERBOSITY": "NONE",
    }
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "siren_grpc.probe"],
        capture_output=True,
        text=True,
        env=environment,
    )

    assert (done.returncode, done.stdout) == (0, "SERVING\n")
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "grpc" in imported
    heavy = {"numpy", "pydantic", "typer", "siren_client", "siren_grpc.server"}
    assert not imported & heavy

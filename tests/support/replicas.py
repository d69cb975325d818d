"""Several servers behind the proxy configuration the project ships."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
from pathlib import Path

import grpc
import pytest

from siren_client import ServingStatus, SirenClient, SirenError
from tests.support.audio import ROOT
from tests.support.server import SirenServer

HAPROXY_CONFIG = ROOT / "deploy" / "haproxy" / "haproxy.cfg"
_START_S = 60


def free_port() -> int:
    """Return a port nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def needs_program(name: str, package: str) -> str:
    """Return a program's path; without it skip the test, or fail it in CI, which installs it."""
    folders = os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin"
    path = shutil.which(name, path=folders)
    if path is not None:
        return path
    message = f"{name} is not installed (apt-get install {package})"
    if os.environ.get("CI_RUN"):
        pytest.fail(f"{message}; .ci/run installs it")
    pytest.skip(message)


class Replicas:
    """`siren serve` processes that keep their ports when they are restarted."""

    def __init__(self, count: int, *arguments: str) -> None:
        """Start them all at once. arguments: flags of `serve`."""
        self._arguments = arguments
        self.ports = [free_port() for _ in range(count)]
        self.servers = [self._start(port) for port in self.ports]

    def wait_serving(self) -> None:
        """Wait until all have loaded their model."""
        for server in self.servers:
            server.wait_serving()

    def restart(self, index: int) -> int:
        """Stop one as an orchestrator does, and wait until its successor is ready.

        Returns the exit code of the one that stopped.
        """
        server = self.servers[index]
        server.signal()
        code = server.wait()
        server.close()
        self.servers[index] = self._start(self.ports[index])
        self.servers[index].wait_serving()
        return code

    def close(self) -> None:
        """End them, however they are doing."""
        for server in self.servers:
            server.close()

    def _start(self, port: int) -> SirenServer:
        return SirenServer("--port", str(port), *self._arguments)


class HaProxy:
    """HAProxy with the configuration in deploy/, its addresses replaced."""

    def __init__(self, replica_ports: list[int], folder: Path) -> None:
        """Start it. folder: where its configuration is written."""
        program = needs_program("haproxy", "haproxy")
        port = free_port()
        self.target = f"127.0.0.1:{port}"
        config = HAPROXY_CONFIG.read_text(encoding="utf-8")
        config = _replace_line(config, r"    bind :50051 (.*)", rf"    bind 127.0.0.1:{port} \1")
        servers = "\n".join(f"    server s{p} 127.0.0.1:{p}" for p in replica_ports)
        config = _replace_line(config, r"    server-template .*", servers)
        file = folder / "haproxy.cfg"
        file.write_text(config, encoding="utf-8")
        checked = subprocess.run([program, "-c", "-f", str(file)], capture_output=True, text=True)
        assert checked.returncode == 0, checked.stderr
        self._log = folder / "haproxy.log"
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [program, "-db", "-f", str(file)], stdout=log, stderr=subprocess.STDOUT
            )

    def wait_ready(self) -> None:
        """Wait until it has a server to pass calls on to."""
        deadline = time.monotonic() + _START_S
        with SirenClient(self.target) as client:
            while not _is_serving(client):
                assert time.monotonic() < deadline, "no server behind HAProxy became ready"
                assert self._process.poll() is None, self._log.read_text()
                time.sleep(0.1)

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait()


def _is_serving(client: SirenClient) -> bool:
    try:
        return client.health() is ServingStatus.SERVING
    except SirenError as error:
        if error.status is not grpc.StatusCode.UNAVAILABLE:
            raise
        return False


def _replace_line(text: str, pattern: str, replacement: str) -> str:
    replaced, count = re.subn(f"^{pattern}$", replacement, text, flags=re.MULTILINE)
    assert count == 1, f"{count} lines are like {pattern!r}"
    return replaced

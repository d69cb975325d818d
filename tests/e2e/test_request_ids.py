"""A client finds its call again: in answers, trailing metadata and the server's log."""

from __future__ import annotations

import re

import grpc
import pytest
from siren.v1 import speech_pb2 as pb

from tests.support.server import SirenServer
from tests.support.wire import Wire, audio, config, failure

pytestmark = pytest.mark.e2e


def trailers(call: grpc.Call) -> dict[str, str | bytes]:
    return dict(call.trailing_metadata())


def test_a_request_id_is_echoed_everywhere(running_server: SirenServer, wire: Wire) -> None:
    name = "order 7/b"
    stream = wire.stub.StreamingRecognize(iter([config(request_id=name)]), timeout=60)
    started = next(stream).started
    assert started.request_id == name
    list(stream)
    assert trailers(stream)["siren-request-id"] == name
    assert trailers(stream)["siren-session-id"] == started.session_id
    for what in ("started", "ended"):
        line = re.compile(rf"session {started.session_id} \(request {name}\): {what}")
        running_server.wait_for(line, timeout_s=10)

    request = pb.RecognizeRequest(config=pb.StreamingConfig(request_id=name))
    response, call = wire.stub.Recognize.with_call(request, timeout=60)
    assert response.started.request_id == name
    assert trailers(call)["siren-request-id"] == name
    assert trailers(call)["siren-session-id"] == response.started.session_id


def test_calls_that_fail_carry_it_too(running_server: SirenServer, wire: Wire) -> None:
    requests = (
        [config(request_id="bad-7", model="no")],
        [config(request_id="bad-7"), audio(b"1")],
    )
    for messages in requests:
        error = wire.exchange(messages).error
        assert error is not None
        found = trailers(error)
        assert found["siren-request-id"] == "bad-7"
        assert found["siren-session-id"]
        assert failure(error).reason in ("MODEL_NOT_FOUND", "INVALID_AUDIO")
    running_server.wait_for(re.compile(r"\(request bad-7\): INVALID_AUDIO"), timeout_s=10)


def test_one_that_no_header_holds_is_refused(wire: Wire) -> None:
    for bad in ("a\nb", "a" * 129):
        exchange = wire.exchange([config(request_id=bad)])
        refused = failure(exchange.error)
        assert refused.reason == "INVALID_CONFIG"
        assert refused.fields == ("config.request_id",)
        assert exchange.error is not None
        assert "siren-request-id" not in trailers(exchange.error)
        assert trailers(exchange.error)["siren-session-id"]

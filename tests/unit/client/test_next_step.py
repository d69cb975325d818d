from __future__ import annotations

import grpc
import pytest

from siren_client.cli.next_step import next_step
from siren_client.errors import FieldViolation, Reason, SirenError

NOBODY = "failed to connect to all addresses; last error: UNKNOWN: "


def unavailable(message: str) -> SirenError:
    return SirenError(grpc.StatusCode.UNAVAILABLE, NOBODY + message)


def refused(field: str) -> SirenError:
    violations = (FieldViolation(field, "no"),)
    status = grpc.StatusCode.INVALID_ARGUMENT
    return SirenError(status, "m", reason=Reason.INVALID_CONFIG, violations=violations)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (SirenError(grpc.StatusCode.UNAUTHENTICATED, "m", reason=Reason.AUTH_FAILED), "--token"),
        (SirenError(grpc.StatusCode.NOT_FOUND, "m", reason=Reason.MODEL_NOT_FOUND), "siren models"),
        (refused("config.chunk_frames"), "siren models"),
        (unavailable("Connection refused"), "siren serve"),
        (
            SirenError(
                grpc.StatusCode.UNAVAILABLE, "m", reason=Reason.SHUTTING_DOWN, retry_after_s=3
            ),
            "Try again in 3 s",
        ),
        (SirenError(grpc.StatusCode.UNIMPLEMENTED, "Method not found!"), "health_port"),
        (unavailable("CERTIFICATE_VERIFY_FAILED: self signed certificate"), "--ca FILE"),
        (unavailable("OPENSSL_internal:WRONG_VERSION_NUMBER"), "leave --tls"),
        (unavailable("Failed to create security handshaker."), "--ca"),
        (unavailable("ipv4:127.0.0.1:50051: Socket closed"), "--tls"),
        (unavailable("Failed parsing HTTP/2 (Expected SETTINGS"), "--server"),
    ],
)
def test_next_steps(error, words):
    assert words in " ".join(next_step(error, "host:1"))


@pytest.mark.parametrize(
    ("server", "words"),
    [("http://host:50051", "without http://"), ("host", "--server host:50051")],
)
def test_an_address_that_cannot_be_meant_is_put_right(server, words):
    assert words in " ".join(next_step(unavailable("Connection refused"), server))


@pytest.mark.parametrize(
    "error",
    [
        SirenError(grpc.StatusCode.INTERNAL, "m", reason=Reason.MODEL_ERROR),
        refused("config.biasing.phrases[0].boost"),
    ],
)
def test_what_nobody_can_mend_has_no_next_step(error):
    assert next_step(error, "host:1") == []

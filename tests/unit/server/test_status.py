from __future__ import annotations

import base64
from urllib.parse import quote

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from siren_grpc.domain import errors
from siren_grpc.domain.errors import FieldViolation, InvalidConfig, Overloaded, Reason, SirenError
from siren_grpc.server.status import to_status

# The table of the contract, word for word.
TABLE = {
    "AUTH_FAILED": "UNAUTHENTICATED",
    "INVALID_MESSAGE": "INVALID_ARGUMENT",
    "INVALID_CONFIG": "INVALID_ARGUMENT",
    "INVALID_AUDIO": "INVALID_ARGUMENT",
    "MODEL_NOT_FOUND": "NOT_FOUND",
    "OVERLOADED": "RESOURCE_EXHAUSTED",
    "AUDIO_TOO_FAST": "RESOURCE_EXHAUSTED",
    "IDLE_TIMEOUT": "DEADLINE_EXCEEDED",
    "SESSION_TOO_LONG": "OUT_OF_RANGE",
    "SHUTTING_DOWN": "UNAVAILABLE",
    "MODEL_ERROR": "INTERNAL",
    "INTERNAL_ERROR": "INTERNAL",
}


def details(status: grpc.Status) -> list:
    packed = status_pb2.Status.FromString(dict(status.trailing_metadata)["grpc-status-details-bin"])
    kinds = (
        error_details_pb2.ErrorInfo,
        error_details_pb2.BadRequest,
        error_details_pb2.RetryInfo,
    )
    found = []
    for detail in packed.details:
        for kind in kinds:
            message = kind()
            if detail.Unpack(message):
                found.append(message)
    return found


@pytest.mark.parametrize("kind", SirenError.__subclasses__(), ids=lambda kind: kind.__name__)
def test_each_reason_has_the_contracts_status(kind: type[SirenError]) -> None:
    status = to_status(kind("what to do"), session_id="5f0c")
    assert status.code.name == TABLE[kind.reason.value]
    assert status.details == "what to do"
    (info,) = details(status)
    assert (info.reason, info.domain) == (kind.reason.value, "siren")
    assert info.metadata == {"session_id": "5f0c"}


def test_the_table_is_complete() -> None:
    assert {reason.value for reason in Reason} == set(TABLE)
    assert {kind.reason for kind in SirenError.__subclasses__()} == set(Reason)
    assert errors.SirenError.__subclasses__()


def test_retry_and_fields_travel_in_the_details() -> None:
    overloaded = to_status(Overloaded("full", retry_after_s=1.25), trailers=(("siren", "7"),))
    _, retry = details(overloaded)
    assert retry.retry_delay.ToMilliseconds() == 1250
    trailers = dict(overloaded.trailing_metadata)
    assert (trailers["grpc-retry-pushback-ms"], trailers["siren"]) == ("1250", "7")
    assert "grpc-retry-pushback-ms" not in dict(to_status(InvalidConfig("no")).trailing_metadata)
    error = InvalidConfig("bad", violations=(FieldViolation("config.model", "no"),))
    _, bad = details(to_status(error))
    assert [(v.field, v.description) for v in bad.field_violations] == [("config.model", "no")]


@pytest.mark.parametrize("length", [0, 5, 200, 4000])
@pytest.mark.parametrize("noise", ["x", "\U0001f3a4", "\0"])
def test_what_is_told_of_many_bad_fields_fits_the_headers_that_clients_take(
    noise: str, length: int
) -> None:
    """8 KiB with 32 bytes for each, and of a message every byte that is no ASCII as three."""
    phrases = [
        FieldViolation(f"config.biasing.phrases[{i}].text", noise * length) for i in range(1000)
    ]
    error = InvalidConfig.of_fields([FieldViolation("config.model", noise * 4000), *phrases])
    status = to_status(error, session_id="0" * 32, trailers=(("siren-session-id", "0" * 32),))
    taken = len(quote(status.details, safe="")) + 32
    for name, value in status.trailing_metadata:
        data = base64.b64encode(value) if isinstance(value, bytes) else value
        taken += len(name) + len(data) + 32
    assert taken < 8192 - 500, "the server's load is told as well"

from __future__ import annotations

import copy
import pickle
import re
import subprocess
import sys
from pathlib import Path

import grpc
import pytest
import siren.v1.speech_pb2 as pb
from google.protobuf import duration_pb2
from google.rpc import error_details_pb2

from siren_client import FieldViolation, Reason, SirenError
from siren_client.errors import to_siren_error

PROTO = Path(__file__).parents[3] / "proto" / "siren" / "v1" / "speech.proto"


def read(status) -> SirenError:
    code = next(code for code in grpc.StatusCode if code.value[0] == status.code)
    metadata = [("other", "x"), ("grpc-status-details-bin", status.SerializeToString())]
    return to_siren_error(code, status.message, metadata)


def test_reasons_are_those_of_the_protocol():
    rows = re.findall(r"^// {3}([A-Z_]+) {2,}[A-Z_]+ {2,}\S", PROTO.read_text(), re.MULTILINE)
    assert {*rows} - {reason.value for reason in Reason} == set()
    assert len(rows) > 10


def test_every_detail_is_read(make_rich_status):
    error = read(
        make_rich_status(
            grpc.StatusCode.INVALID_ARGUMENT,
            "chunk_frames must be one of 2, 7, 14",
            error_details_pb2.ErrorInfo(
                reason="INVALID_CONFIG", domain="siren", metadata={"session_id": "s"}
            ),
            error_details_pb2.RetryInfo(
                retry_delay=duration_pb2.Duration(seconds=1, nanos=500_000_000)
            ),
            error_details_pb2.BadRequest(
                field_violations=[
                    error_details_pb2.BadRequest.FieldViolation(
                        field="config.chunk_frames", description="3 is not supported"
                    )
                ]
            ),
        )
    )
    assert error.status is grpc.StatusCode.INVALID_ARGUMENT
    assert error.reason is Reason.INVALID_CONFIG
    assert error.message == "chunk_frames must be one of 2, 7, 14"
    assert error.retry_after_s == 1.5
    assert error.violations == (FieldViolation("config.chunk_frames", "3 is not supported"),)
    assert str(error) == "INVALID_CONFIG: chunk_frames must be one of 2, 7, 14"


def test_an_error_without_details_is_its_status():
    error = to_siren_error(grpc.StatusCode.UNAVAILABLE, "connection refused", None)
    assert (error.reason, error.retry_after_s, error.violations) == (None, None, ())
    assert str(error) == "UNAVAILABLE: connection refused"


def test_an_error_without_a_message_has_one():
    assert str(to_siren_error(grpc.StatusCode.UNKNOWN, None, ())).startswith("UNKNOWN: ")


def test_a_reason_of_a_later_server_is_kept_as_text(make_rich_status):
    info = error_details_pb2.ErrorInfo(reason="NEW_REASON", domain="siren")
    error = read(make_rich_status(grpc.StatusCode.INTERNAL, "m", info))
    assert error.reason == "NEW_REASON"
    assert str(error) == "NEW_REASON: m"


def test_other_domains_and_details_are_left_out(make_rich_status):
    status = make_rich_status(
        grpc.StatusCode.UNAVAILABLE,
        "m",
        error_details_pb2.ErrorInfo(reason="OVERLOADED", domain="proxy.example.org"),
        error_details_pb2.DebugInfo(detail="x"),
        pb.AudioChunk(seq=1),
    )
    assert read(status).reason is None


def test_damaged_details_do_not_hide_the_status(make_rich_status):
    status = make_rich_status(
        grpc.StatusCode.INTERNAL,
        "m",
        error_details_pb2.ErrorInfo(reason="MODEL_ERROR", domain="siren"),
        error_details_pb2.RetryInfo(),
    )
    status.details[1].value = b"\xff"
    error = read(status)
    assert (error.reason, error.retry_after_s) == (Reason.MODEL_ERROR, None)
    garbage = [("grpc-status-details-bin", b"\xff\xff")]
    assert to_siren_error(grpc.StatusCode.INTERNAL, "m", garbage).reason is None


IMPORTS = {
    "alone": "import siren_client",
    "before googleapis": "import siren_client, google.rpc.error_details_pb2, grpc_health.v1.health",
    "after googleapis": "import google.rpc.error_details_pb2, grpc_health.v1.health, siren_client",
}


@pytest.mark.parametrize("order", IMPORTS)
def test_details_are_read_whatever_else_is_imported(order, make_rich_status):
    info = error_details_pb2.ErrorInfo(reason="OVERLOADED", domain="siren")
    data = make_rich_status(grpc.StatusCode.RESOURCE_EXHAUSTED, "m", info).SerializeToString()
    program = f"""
{IMPORTS[order]}
import grpc, sys
from siren_client.errors import to_siren_error
metadata = [("grpc-status-details-bin", {data!r})]
print(to_siren_error(grpc.StatusCode.RESOURCE_EXHAUSTED, "m", metadata).reason.value)
if {order == "alone"}:
    needless = {{"google.rpc", "grpc_health.v1", "numpy", "typer", "rich"}} & sys.modules.keys()
    assert not needless, needless
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "OVERLOADED\n", "")


def test_an_error_survives_the_way_to_another_process():
    error = SirenError(
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "no session is free",
        reason=Reason.OVERLOADED,
        retry_after_s=2.0,
        violations=(FieldViolation("config.model", "unknown"),),
    )
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(again) is SirenError
        assert (str(again), vars(again)) == (str(error), vars(error))


def test_an_error_names_the_session_for_whoever_reads_the_servers_log():
    metadata = [("siren-session-id", "abc123")]
    assert to_siren_error(grpc.StatusCode.INTERNAL, "x", metadata).session_id == "abc123"
    assert to_siren_error(grpc.StatusCode.INTERNAL, "x", None).session_id is None

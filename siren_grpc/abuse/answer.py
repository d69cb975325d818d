"""What a server answers a call with, in gRPC's terms."""

from __future__ import annotations

import base64
from urllib.parse import unquote

import grpc
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]

from siren_grpc.abuse.outcome import Kind, Outcome

_CODES = {code.value[0]: code.name for code in grpc.StatusCode}


class Answer:
    """The headers and trailers of one call so far."""

    def __init__(self) -> None:
        """Start with none."""
        self.headers: dict[str, str] = {}

    def outcome(self) -> Outcome | None:
        """Return the call's gRPC status, None if it has none."""
        status = self.headers.get("grpc-status")
        if status is None:
            return None
        code = _CODES.get(int(status), status)
        details = self.headers.get("grpc-status-details-bin", "")
        text = unquote(self.headers.get("grpc-message", ""))
        return Outcome(Kind.STATUS, code, _reason_of(details), text)


def _reason_of(details: str) -> str:
    """Return the reason in a google.rpc.Status as metadata carries it; empty if it has none."""
    data = base64.b64decode(details + "=" * (-len(details) % 4))
    for detail in status_pb2.Status.FromString(data).details:
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info):
            return str(info.reason)
    return ""

"""Whether the server of this container serves: `python -m siren_grpc.probe`, for HEALTHCHECK.

It asks as `siren health` does, for a fraction of the processor's time: where a machine is busy
recognising there is none to spare. Exit status 0 when the server serves, 1 otherwise.
"""

from __future__ import annotations

import os
import sys

import grpc
from grpc_health.v1 import health_pb2

ANSWER_S = 10.0
_OPTIONS = [("grpc.enable_http_proxy", 0)]  # a proxy of the environment is for what is elsewhere


def main() -> int:
    """Ask once, in plain text and without a token, and return the exit status."""
    port = os.environ.get("SIREN_HEALTH_PORT") or os.environ.get("SIREN_PORT") or "50051"
    with grpc.insecure_channel(f"127.0.0.1:{port}", options=_OPTIONS) as channel:
        check: grpc.UnaryUnaryMultiCallable[bytes, health_pb2.HealthCheckResponse]
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        try:
            answer = check(b"", timeout=ANSWER_S)  # an empty request asks for the server as a whole
        except grpc.RpcError as error:
            print(f"port {port}: {error.code().name}: {error.details()}")
            return 1
    print(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))
    return 0 if answer.status == health_pb2.HealthCheckResponse.SERVING else 1


if __name__ == "__main__":
    sys.exit(main())

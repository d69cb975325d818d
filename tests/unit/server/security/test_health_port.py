from __future__ import annotations

from contextlib import AsyncExitStack

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from siren_grpc.abuse.http2 import Http2
from siren_grpc.server.health import HealthServicer
from siren_grpc.server.security.health_port import HealthPort

CHECK = "/grpc.health.v1.Health/Check"
WAIT_S = 20.0


async def test_calls_that_do_not_say_what_they_want_do_not_keep_probes_out() -> None:
    health = HealthServicer()
    health.set("", health_pb2.HealthCheckResponse.SERVING)
    port = HealthPort(health, request_timeout_s=0.2)
    target = f"127.0.0.1:{await port.start('127.0.0.1:0', is_shared=False)}"
    try:
        async with AsyncExitStack() as stack:
            silent = await stack.enter_async_context(await Http2.connect(target))
            streams = [silent.begin(CHECK) for _ in range(64)]
            end = await silent.ends(streams[-1], deadline_s=WAIT_S)
            assert end.reason == "IDLE_TIMEOUT"
            channel = await stack.enter_async_context(grpc.aio.insecure_channel(target))
            stub = health_pb2_grpc.HealthStub(channel)
            answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=WAIT_S)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
    finally:
        await port.stop()

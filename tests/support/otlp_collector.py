"""A collector of OpenTelemetry spans: a real gRPC server of OTLP's own service."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as pb
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc


@dataclass(frozen=True)
class Span:
    """A span, and the process it came from."""

    process: str
    span: Any

    @property
    def attributes(self) -> dict[str, Any]:
        return _dict(self.span.attributes)

    @property
    def events(self) -> list[tuple[str, dict[str, Any]]]:
        return [(event.name, _dict(event.attributes)) for event in self.span.events]


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Keeps what it is sent."""

    def __init__(self) -> None:
        self._spans: list[Span] = []
        self._changed = threading.Condition()
        self._server = grpc.server(ThreadPoolExecutor(2))
        trace_service_pb2_grpc.add_TraceServiceServicer_to_server(self, self._server)
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()

    def Export(self, request: Any, context: Any) -> Any:
        with self._changed:
            for resource in request.resource_spans:
                process = _dict(resource.resource.attributes)["siren.process"]
                for scope in resource.scope_spans:
                    self._spans += (Span(process, span) for span in scope.spans)
            self._changed.notify_all()
        return pb.ExportTraceServiceResponse()

    def wait_for(self, holds: Callable[[Span], bool], *, timeout_s: float = 20.0) -> list[Span]:
        """Return the spans that are meant, once there is one."""
        with self._changed:
            self._changed.wait_for(lambda: any(map(holds, self._spans)), timeout_s)
            return [span for span in self._spans if holds(span)]

    def close(self) -> None:
        self._server.stop(None).wait()


def _dict(attributes: Any) -> dict[str, Any]:
    return {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in attributes}

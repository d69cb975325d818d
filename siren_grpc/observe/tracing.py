"""OpenTelemetry traces: a span a call in the front ends, and a span a step in the engine's process.

Needs the extra `otel`. Where spans go, and how many, is said by OpenTelemetry's own environment
variables (OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_TRACES_SAMPLER, OTEL_SERVICE_NAME and so on). Spans
are sent in batches by a thread of the exporter's: one that is slow or gone loses spans, and costs
the calls nothing.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Span

TracingMode = Literal["off", "calls", "steps"]
Attributes = Mapping[str, "str | int | float | bool"]
_NAME = "siren_grpc"
_CLOSE_S = 2.0
_HTTP = "http/protobuf"


class TracingMissing(RuntimeError):
    """Tracing was asked for and its packages are not installed; the message says what to do."""


class Tracing:
    """Makes the spans of one process."""

    def __init__(self, provider: TracerProvider) -> None:
        """Send spans to a provider; `make_tracing` makes one from the environment."""
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._provider = provider
        self._tracer = provider.get_tracer(_NAME)
        self._propagator = TraceContextTextMapPropagator()

    def start_call(self, name: str, metadata: Iterable[tuple[str, str | bytes]]) -> CallSpan:
        """Begin the span of a call, as a child of the client's `traceparent` if it sent one."""
        from opentelemetry.trace import SpanKind

        carrier = {key: value for key, value in metadata if isinstance(value, str)}
        parent = self._propagator.extract(carrier)
        service, _, method = name.rpartition("/")
        attributes = {"rpc.system": "grpc", "rpc.service": service, "rpc.method": method}
        span = self._tracer.start_span(
            name, context=parent, kind=SpanKind.SERVER, attributes=attributes
        )
        return CallSpan(span)

    def record_step(
        self, traceparents: Sequence[str], duration_s: float, attrs: Attributes
    ) -> None:
        """Record a step that has just ended, linked to the calls it advanced.

        traceparents: of those calls that are traced.
        """
        from opentelemetry.trace import Link, get_current_span

        contexts = (self._propagator.extract({"traceparent": parent}) for parent in traceparents)
        links = [Link(get_current_span(context).get_span_context()) for context in contexts]
        ended = time.time_ns()
        span = self._tracer.start_span(
            "siren.step",
            links=links,
            attributes=dict(attrs),
            start_time=ended - round(duration_s * 1e9),
        )
        span.end(ended)

    def close(self) -> None:
        """Send what is waiting, for a moment: a collector that is gone holds no stop up."""
        closing = threading.Thread(target=self._provider.shutdown, name="otel-close", daemon=True)
        closing.start()
        closing.join(_CLOSE_S)


class CallSpan:
    """The span of one call."""

    def __init__(self, span: Span) -> None:
        """Made by `Tracing`."""
        self._span = span
        self._is_recording = span.is_recording()

    @property
    def trace_id(self) -> str:
        """In hexadecimal; empty when the span is not sampled."""
        context = self._span.get_span_context()
        return format(context.trace_id, "032x") if self._is_recording else ""

    @property
    def traceparent(self) -> str:
        """Names the span to other processes; empty when it is not sampled."""
        if not self._is_recording:
            return ""
        context = self._span.get_span_context()
        return f"00-{context.trace_id:032x}-{context.span_id:016x}-01"

    def describe(self, attributes: Attributes) -> None:
        """Set attributes."""
        if self._is_recording:
            self._span.set_attributes(dict(attributes))

    def add_event(self, name: str, attributes: Attributes) -> None:
        """Note that something happened now."""
        if self._is_recording:
            self._span.add_event(name, dict(attributes))

    def end(self, outcome: str, *, is_error: bool) -> None:
        """End the span; outcome: as in the metrics."""
        from opentelemetry.trace import Status, StatusCode

        self._span.set_attribute("siren.outcome", outcome)
        if is_error:
            self._span.set_status(Status(StatusCode.ERROR, outcome))
        self._span.end()


def check_tracing() -> None:
    """Make sure that what traces need is installed. Raises TracingMissing."""
    try:
        _exporter_class()
    except ImportError as error:
        raise TracingMissing(
            f"tracing needs OpenTelemetry: pip install 'siren-grpc[otel]' ({error})"
        ) from error


def make_tracing(process: str, *, samples_all: bool = False) -> Tracing:
    """Return what makes a process's spans, and sends them where OTEL_* variables say.

    samples_all: whether spans without a parent are all kept, whatever OTEL_TRACES_SAMPLER says:
    those of steps, which were chosen by their calls.
    """
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import ALWAYS_ON

    name = os.environ.get("OTEL_SERVICE_NAME", "siren")
    resource = Resource.create({"service.name": name, "siren.process": process})
    provider = TracerProvider(
        resource=resource, sampler=ALWAYS_ON if samples_all else None, shutdown_on_exit=False
    )
    provider.add_span_processor(BatchSpanProcessor(_exporter_class()()))
    return Tracing(provider)


def _exporter_class() -> type[SpanExporter]:
    """Return what speaks the protocol of OTEL_EXPORTER_OTLP_PROTOCOL. Raises ImportError."""
    protocol = os.environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or os.environ.get(
        "OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"
    )
    if protocol == _HTTP:
        from opentelemetry.exporter.otlp.proto.http import trace_exporter as over_http

        return over_http.OTLPSpanExporter
    from opentelemetry.exporter.otlp.proto.grpc import trace_exporter as over_grpc

    return over_grpc.OTLPSpanExporter

"""ORCA: the server's load, told to balancers the way gRPC and Envoy read it.

In the trailers of each call (`endpoint-load-metrics-bin`), and out of band by
`xds.service.orca.v3.OpenRcaService`. The messages are those of github.com/cncf/xds,
xds/data/orca/v3/orca_load_report.proto and xds/service/orca/v3/orca.proto; the published package
of them, xds-protos, overwrites files of googleapis-common-protos, so the fields that are used are
declared here, in a pool of their own: on the wire names do not travel, numbers do.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from siren_grpc.server.inspection_messages import ServerLoad

SERVICE_NAME = "xds.service.orca.v3.OpenRcaService"
TRAILER = "endpoint-load-metrics-bin"
_MIN_INTERVAL_S = 1.0
"""The load is measured once a second."""
_FIELD = descriptor_pb2.FieldDescriptorProto


def _build_messages() -> tuple[Any, Any]:
    file = descriptor_pb2.FileDescriptorProto(
        name="siren/orca.proto", package="siren.orca", syntax="proto3"
    )
    report = file.message_type.add(name="OrcaLoadReport")
    doubles = {
        "cpu_utilization": 1,
        "mem_utilization": 2,
        "rps_fractional": 6,
        "eps": 7,
        "application_utilization": 9,
    }
    for name, number in doubles.items():
        report.field.add(
            name=name, number=number, type=_FIELD.TYPE_DOUBLE, label=_FIELD.LABEL_OPTIONAL
        )
    for name, number in {"utilization": 5, "named_metrics": 8}.items():
        entry_name = "".join(part.capitalize() for part in name.split("_")) + "Entry"
        entry = report.nested_type.add(name=entry_name)
        entry.options.map_entry = True
        kinds = (("key", 1, _FIELD.TYPE_STRING), ("value", 2, _FIELD.TYPE_DOUBLE))
        for field, field_number, kind in kinds:
            entry.field.add(name=field, number=field_number, type=kind, label=_FIELD.LABEL_OPTIONAL)
        report.field.add(
            name=name,
            number=number,
            type=_FIELD.TYPE_MESSAGE,
            type_name=f".siren.orca.OrcaLoadReport.{entry_name}",
            label=_FIELD.LABEL_REPEATED,
        )
    duration = file.message_type.add(name="Duration")
    for name, number, kind in (("seconds", 1, _FIELD.TYPE_INT64), ("nanos", 2, _FIELD.TYPE_INT32)):
        duration.field.add(name=name, number=number, type=kind, label=_FIELD.LABEL_OPTIONAL)
    request = file.message_type.add(name="OrcaLoadReportRequest")
    request.field.add(
        name="report_interval",
        number=1,
        type=_FIELD.TYPE_MESSAGE,
        type_name=".siren.orca.Duration",
        label=_FIELD.LABEL_OPTIONAL,
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    classes = [
        message_factory.GetMessageClass(pool.FindMessageTypeByName(f"siren.orca.{name}"))
        for name in ("OrcaLoadReport", "OrcaLoadReportRequest")
    ]
    return classes[0], classes[1]


_Report, _Request = _build_messages()


class LoadReports:
    """The server's load as one front end tells it."""

    def __init__(self, *, is_on: bool) -> None:
        """Say nothing before the first `update`, and nothing at all when off."""
        self.is_on = is_on
        self._data = b""
        self._is_closed = asyncio.Event()

    @property
    def trailers(self) -> tuple[tuple[str, bytes], ...]:
        """What a call's trailing metadata say of it. Made once a second, not once a call."""
        return ((TRAILER, self._data),) if self._data else ()

    def update(self, load: ServerLoad) -> None:
        """Tell this load from now on."""
        if self.is_on:
            self._data = to_report(load)

    def add_to(self, server: grpc.aio.Server) -> None:
        """Add the out-of-band service to a server, unless off."""
        if not self.is_on:
            return
        stream = grpc.unary_stream_rpc_method_handler(
            self._stream, request_deserializer=_Request.FromString, response_serializer=bytes
        )
        handlers = {"StreamCoreMetrics": stream}
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(SERVICE_NAME, handlers),)
        )

    def close(self) -> None:
        """End the reports: the server stops, and would wait for them."""
        self._is_closed.set()

    async def _stream(self, request: Any, context: Any) -> AsyncIterator[bytes]:
        """Answer StreamCoreMetrics: a report at once, then one an interval."""
        interval = request.report_interval
        interval_s = max(_MIN_INTERVAL_S, interval.seconds + interval.nanos / 1e9)
        while not self._is_closed.is_set():
            yield self._data
            try:
                await asyncio.wait_for(self._is_closed.wait(), interval_s)
            except asyncio.TimeoutError:
                continue


def to_report(load: ServerLoad) -> bytes:
    """Return a load as an OrcaLoadReport."""
    report = _Report(
        cpu_utilization=load.processor,
        mem_utilization=load.memory,
        application_utilization=load.utilization,
        rps_fractional=load.calls_per_s,
        eps=load.errors_per_s,
        utilization={"sessions": load.sessions, "steps": load.steps},
        named_metrics={
            "siren.sessions_active": load.n_active,
            "siren.sessions_capacity": load.n_slots,
        },
    )
    data: bytes = report.SerializeToString()
    return data

"""What the server tells of itself; see docs/observability.md."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field


class ObservabilitySettings(BaseModel):
    """Log, metrics, admin service, load reports and traces."""

    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="What the server's log shows."
    )
    log_format: Literal["text", "json"] = Field(
        "text",
        description="Form of the log's lines: text for people, json for collectors, an object a "
        "line with the session's ids. Neither has text or audio of streams.",
    )
    metrics_host: str = Field(
        "127.0.0.1",
        description="Address of the metrics. They name models and counts, nobody and no text; "
        "anybody who reaches the address can read them.",
    )
    metrics_port: int | None = Field(
        None,
        ge=0,
        le=65535,
        description="Port of the Prometheus metrics (http://HOST:PORT/metrics); 0 lets the system "
        "choose one. Default: none.",
    )
    admin_host: str = Field(
        "127.0.0.1",
        description="Address of the admin service. It asks for no token: one that other machines "
        "reach takes admin_allow_anonymous.",
    )
    admin_port: int | None = Field(
        None,
        ge=0,
        le=65535,
        description="Port of siren.v1.AdminService, which lists and ends sessions; 0 lets the "
        "system choose one. Default: none.",
    )
    admin_allow_anonymous: bool = Field(
        False,
        description="Serve the admin service on an address that other machines reach, in plain "
        "text and without asking who they are: whoever reaches it sees the callers' names and "
        "addresses and can end any stream. Only where the network lets nobody but operators in.",
    )
    load_reports: bool = Field(
        True,
        description="Tell balancers the load (ORCA): in the trailers of each call, and by "
        "xds.service.orca.v3.OpenRcaService. Clients can read it: utilisation and the number of "
        "sessions.",
    )
    channelz: bool = Field(
        False,
        description="Answer grpc.channelz.v1.Channelz on the port: connections, their peers and "
        "calls, for debugging. Of the front end that took the asking connection.",
    )
    tracing: Literal["off", "calls", "steps"] = Field(
        "off",
        description="OpenTelemetry traces: a span a call, and with steps a span a step too. Needs "
        "the extra otel; OTEL_* variables say where they go and how many. Steps cost more the more "
        "calls are traced.",
    )

"""Where the server listens, and how it lets go of connections."""

from __future__ import annotations

from pydantic import BaseModel, Field

_MOST_S = 2_000_000
"""Some 23 days: gRPC takes durations as milliseconds, in 32 bits."""


class ConnectionSettings(BaseModel):
    """Addresses, and the times that a stop takes."""

    host: str = Field("127.0.0.1", description="Address to listen on; 0.0.0.0 for all.")
    port: int = Field(
        50051, ge=0, le=65535, description="Port to listen on; 0 lets the system choose one."
    )
    drain_delay_s: float = Field(
        0.0,
        ge=0,
        le=600,
        description="After SIGTERM or Ctrl-C, how long new streams are still taken while health "
        "says NOT_SERVING already: as long as balancers need to notice. Behind a balancer 5; it "
        "comes before shutdown_grace_s.",
    )
    shutdown_grace_s: float = Field(
        20.0,
        ge=0,
        le=_MOST_S,
        description="After SIGTERM or Ctrl-C, how long running streams may go on before they get "
        "their final and SHUTTING_DOWN.",
    )
    max_connection_age_s: float | None = Field(
        None,
        ge=1,
        le=_MOST_S,
        description="Age at which a connection is told to take its new streams elsewhere, give or "
        "take 10 %: so that clients find replicas that came later. Behind a balancer 1800. "
        "Running streams go on. Default: no limit.",
    )
    max_connection_age_grace_s: float | None = Field(
        None,
        ge=0,
        le=_MOST_S,
        description="How long running streams may keep such a connection; then it is cut. Default: "
        "as long as they run.",
    )
    stuck_step_s: float = Field(
        30.0,
        ge=1,
        description="A step that takes longer is stuck: streams end with SHUTTING_DOWN, the health "
        "named liveness turns NOT_SERVING, and the log shows what every thread does. Many times "
        "the longest step there is.",
    )
    stuck_exit_s: float = Field(
        30.0,
        ge=0,
        description="How much longer a process with a stuck step goes on, before it ends itself "
        "with status 70. A front end that has not answered for both times together is ended and "
        "replaced.",
    )

"""A front end that listens and has no model: what is answered before one is asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio

from siren_grpc.domain.principal import Caller
from siren_grpc.engine.engine import Engine
from siren_grpc.engine.session import EngineLimits
from siren_grpc.observe.metrics import CALLS
from siren_grpc.server.connections import ConnectionLimits
from siren_grpc.server.front_end import FrontEnd, FrontEndConfig
from siren_grpc.server.front_end_tally import FrontEndTally
from siren_grpc.server.opening import ServiceLimits
from siren_grpc.server.security.config import NO_SECURITY, SecurityConfig


class Running:
    """A front end that listens."""

    def __init__(self, front_end: FrontEnd, port: int) -> None:
        self.front_end = front_end
        self.target = f"localhost:{port}"
        self.callers: list[Caller] = []
        asked = front_end._service._caller_of

        def note(context: Any) -> Caller:
            self.callers.append(asked(context))
            return self.callers[-1]

        front_end._service._caller_of = note

    def channel(self, credentials: grpc.ChannelCredentials | None = None) -> grpc.aio.Channel:
        if credentials is None:
            return grpc.aio.insecure_channel(self.target)
        return grpc.aio.secure_channel(self.target, credentials)

    @property
    def calls(self) -> dict[tuple[str, ...], float]:
        """The calls counted so far, by method and outcome."""
        counts = self.front_end._service._tally.read((), n_parked=0)
        return {
            labels: n  # type: ignore[misc]  # a counter's value is a number
            for (name, labels), n in counts.items()
            if name == CALLS.name and n
        }


def front_end_config(
    security: SecurityConfig = NO_SECURITY, *, idle_timeout_s: float = 60.0
) -> FrontEndConfig:
    return FrontEndConfig(
        host="127.0.0.1",
        port=0,
        shares_port=False,
        connections=ConnectionLimits(
            max_message_bytes=32 << 20,
            max_sessions=8,
            max_connection_age_s=None,
            max_connection_age_grace_s=None,
        ),
        drain_delay_s=0.0,
        shutdown_grace_s=0.0,
        stuck_step_s=60.0,
        stuck_exit_s=60.0,
        itn_languages=(),
        service=ServiceLimits(
            preview_ms=0,
            tail_padding_ms=0,
            idle_timeout_s=idle_timeout_s,
            max_session_s=None,
            masked_words=frozenset(),
            resume_grace_s=10.0,
            max_parked=4,
        ),
        engine=EngineLimits(max_backlog_s=4.0, max_unsent_results=16),
        security=security,
        load_reports=True,
        channelz=False,
    )


@asynccontextmanager
async def front_end(
    security: SecurityConfig = NO_SECURITY, *, idle_timeout_s: float = 60.0
) -> AsyncIterator[Running]:
    config = front_end_config(security, idle_timeout_s=idle_timeout_s)
    engine = Engine(config.engine, lambda messages: None, front_end=1)
    made = FrontEnd(config, engine, FrontEndTally("front end 1"))
    try:
        yield Running(made, await made.start())
    finally:
        await made.stop(asyncio.Event())

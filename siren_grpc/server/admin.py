"""`siren.v1.AdminService`, in the engine's process: it knows all front ends."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from typing import Any, TypeAlias

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from siren.v1 import admin_pb2 as pb
from siren.v1 import admin_pb2_grpc

from siren_grpc.domain.errors import InvalidMessage
from siren_grpc.observe import metrics
from siren_grpc.observe.instruments import HistogramState, Snapshot
from siren_grpc.server.bind_error import cannot_listen
from siren_grpc.server.front_end_process import FrontEndDied, FrontEndProcess
from siren_grpc.server.inspection_messages import (
    EndSession,
    ListSessions,
    Question,
    SessionRow,
)
from siren_grpc.server.observer import Observer, versions
from siren_grpc.server.reflection import add_reflection
from siren_grpc.server.status import to_status
from siren_grpc.server.unreadable import UnreadableRequests

_log = logging.getLogger(__name__)
_Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"  # generic for mypy only
_SERVICE = pb.DESCRIPTOR.services_by_name["AdminService"].full_name
_ANSWER_S = 2.0
_STATES = {
    "loading": pb.SERVER_STATE_LOADING,
    "serving": pb.SERVER_STATE_SERVING,
    "draining": pb.SERVER_STATE_DRAINING,
}


class AdminServer:
    """Listens on the admin port."""

    def __init__(self, observer: Observer, host: str, port: int) -> None:
        """Prepare; `start` binds. port: 0 lets the system choose."""
        self._server = grpc.aio.server(
            interceptors=[UnreadableRequests()], options=[("grpc.so_reuseport", 0)]
        )
        self._address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        admin_pb2_grpc.add_AdminServiceServicer_to_server(AdminService(observer), self._server)
        add_reflection(self._server, (_SERVICE,))

    async def start(self) -> None:
        """Listen. Raises OSError when the address cannot be bound."""
        try:
            port = self._server.add_insecure_port(self._address)
        except RuntimeError as error:
            raise cannot_listen(self._address, "admin_port", error) from error
        await self._server.start()
        _log.info("admin service on %s:%d", self._address.rpartition(":")[0], port)

    async def stop(self) -> None:
        """Answer no more."""
        await self._server.stop(None)


class AdminService(admin_pb2_grpc.AdminServiceServicer):
    """Answers from what the observer knows, and what the front ends say when asked."""

    def __init__(self, observer: Observer) -> None:
        """Answer for the server that `observer` watches."""
        self._observer = observer

    # The RPC methods are named by the protocol.
    async def ListSessions(
        self, request: pb.ListSessionsRequest, context: _Context
    ) -> pb.ListSessionsResponse:
        """List what runs in every front end; see the protocol."""
        response = pb.ListSessionsResponse()
        found: list[tuple[SessionRow, str]] = []
        async for front_end, rows in self._ask_all(ListSessions()):
            if rows is None:
                response.silent_front_ends.append(front_end)
            else:
                found += ((row, front_end) for row in rows)
        found.sort(key=lambda pair: (pair[0].started_at, pair[0].session_id))
        response.sessions.extend(to_session(row, front_end) for row, front_end in found)
        return response

    async def GetServerStatus(
        self, request: pb.GetServerStatusRequest, context: _Context
    ) -> pb.GetServerStatusResponse:
        """Tell how the server is; see the protocol."""
        observer, load = self._observer, self._observer.load
        now = observer.read()
        languages = {info.id: info.language_codes for info in observer.models}
        models = observer.engine_load.models
        return pb.GetServerStatusResponse(
            version=versions()[0],
            state=_STATES[observer.state],
            started_at=_timestamp(observer.started_at),
            uptime=_duration(time.time() - observer.started_at),
            models=[
                pb.ModelStatus(
                    model=name,
                    language_codes=languages.get(name, ()),
                    active_sessions=model.n_active,
                    session_capacity=model.n_slots,
                )
                for name, model in models.items()
            ],
            active_sessions=sum(model.n_active for model in models.values()),
            session_capacity=sum(model.n_slots for model in models.values()),
            parked_streams=_count(now, metrics.STREAMS_PARKED.name),
            utilization=load.utilization,
            step_utilization=load.steps,
            cpu_utilization=load.processor,
            resident_bytes=observer.resident_bytes,
            devices=[
                pb.DeviceStatus(
                    device=usage.device,
                    name=usage.name,
                    used_bytes=usage.used_bytes,
                    total_bytes=usage.total_bytes,
                    reserved_bytes=usage.reserved_bytes,
                    utilization=usage.utilization,
                )
                for usage in observer.devices
            ],
            front_ends=_count(now, metrics.FRONT_ENDS.name),
        )

    async def EndSession(
        self, request: pb.EndSessionRequest, context: _Context
    ) -> pb.EndSessionResponse:
        """End a stream wherever it is; see the protocol."""
        if not request.session_id:
            error = InvalidMessage("session_id is empty; ListSessions tells the ids there are")
            await context.abort_with_status(to_status(error))
        was_found = False
        async for _, answer in self._ask_all(EndSession(request.session_id)):
            was_found = was_found or bool(answer)
        if was_found:
            _log.info("session %s: ended by the operator", request.session_id)
        return pb.EndSessionResponse(was_found=was_found)

    async def _ask_all(self, question: Question) -> AsyncIterator[tuple[str, Any]]:
        """Yield each front end's name and its answer, None where there is none."""

        async def ask(front_end: FrontEndProcess) -> Any:
            try:
                return await front_end.ask(question, timeout_s=_ANSWER_S)
            except (FrontEndDied, asyncio.TimeoutError):
                return None

        front_ends = list(self._observer.front_ends)
        answers = await asyncio.gather(*map(ask, front_ends))
        for front_end, answer in zip(front_ends, answers, strict=True):
            yield front_end.name, answer


def to_session(row: SessionRow, front_end: str) -> pb.LiveSession:
    """Return a session as its message."""
    state = pb.SESSION_STATE_LIVE if row.is_live else pb.SESSION_STATE_RECORDING
    return pb.LiveSession(
        session_id=row.session_id,
        request_id=row.request_id,
        model=row.model,
        chunk_frames=row.chunk_frames,
        decoder=row.decoder,
        state=pb.SESSION_STATE_PARKED if row.is_parked else state,
        started_at=_timestamp(row.started_at),
        audio_received=_duration(row.received_s),
        audio_processed=_duration(row.processed_s),
        lag=_duration(row.waiting_s),
        peer=row.peer,
        principal=row.principal,
        front_end=front_end,
    )


def _count(numbers: Snapshot, name: str) -> int:
    value = numbers.get((name, ()), 0.0)
    return 0 if isinstance(value, HistogramState) else int(value)


def _timestamp(seconds: float) -> Timestamp:
    stamp = Timestamp()
    stamp.FromMilliseconds(round(1000 * seconds))
    return stamp


def _duration(seconds: float) -> Duration:
    duration = Duration()
    duration.FromMilliseconds(round(1000 * max(0.0, seconds)))
    return duration

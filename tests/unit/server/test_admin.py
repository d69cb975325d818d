"""The admin service's answers from what front ends say, and from those that say nothing."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from siren.v1 import admin_pb2 as pb

from siren_grpc.server.admin import AdminService, to_session
from siren_grpc.server.front_end_process import FrontEndDied
from siren_grpc.server.inspection_messages import EndSession, SessionRow

ROW = SessionRow(
    session_id="5f0c",
    request_id="order 7",
    model="test-model",
    chunk_frames=7,
    decoder="rnnt",
    is_live=True,
    is_parked=False,
    started_at=1_700_000_000.25,
    received_s=2.5,
    processed_s=2.24,
    waiting_s=0.125,
    peer="ipv4:10.0.0.7:43210",
    principal="phone",
)


@dataclass
class FrontEnd:
    """Answers what it is given to answer; an error it raises."""

    name: str
    answer: Any
    asked: list[Any] = field(default_factory=list)

    async def ask(self, question: Any, *, timeout_s: float) -> Any:
        assert timeout_s == 2.0
        self.asked.append(question)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def service(*front_ends: FrontEnd) -> AdminService:
    return AdminService(SimpleNamespace(front_ends=front_ends))  # type: ignore[arg-type]


async def test_front_ends_that_do_not_answer_are_named() -> None:
    old, new = (
        replace(ROW, session_id=name, started_at=at) for name, at in (("old", 1.0), ("new", 2.0))
    )
    found = await service(
        FrontEnd("front_end_0", (new,)),
        FrontEnd("front_end_1", asyncio.TimeoutError()),
        FrontEnd("front_end_2", FrontEndDied("gone")),
        FrontEnd("front_end_3", (old,)),
    ).ListSessions(pb.ListSessionsRequest(), None)  # type: ignore[arg-type]
    assert list(found.silent_front_ends) == ["front_end_1", "front_end_2"]
    assert [(s.session_id, s.front_end) for s in found.sessions] == [
        ("old", "front_end_3"),
        ("new", "front_end_0"),
    ]


@pytest.mark.parametrize("answers", [(False, True), (True, asyncio.TimeoutError()), (False, False)])
async def test_a_session_is_ended_wherever_it_is(answers: tuple[Any, ...]) -> None:
    front_ends = [FrontEnd(f"front_end_{i}", answer) for i, answer in enumerate(answers)]
    request = pb.EndSessionRequest(session_id="5f0c")
    ended = await service(*front_ends).EndSession(request, None)  # type: ignore[arg-type]
    assert ended.was_found == (True in answers)
    assert all(front_end.asked == [EndSession("5f0c")] for front_end in front_ends)


def test_a_session_is_described() -> None:
    assert to_session(ROW, "front_end_1") == pb.LiveSession(
        session_id="5f0c",
        request_id="order 7",
        model="test-model",
        chunk_frames=7,
        decoder="rnnt",
        state=pb.SESSION_STATE_LIVE,
        started_at=Timestamp(seconds=1_700_000_000, nanos=250_000_000),
        audio_received=Duration(seconds=2, nanos=500_000_000),
        audio_processed=Duration(seconds=2, nanos=240_000_000),
        lag=Duration(nanos=125_000_000),
        peer="ipv4:10.0.0.7:43210",
        principal="phone",
        front_end="front_end_1",
    )


@pytest.mark.parametrize(
    ("is_live", "is_parked", "state"),
    [
        (True, False, pb.SESSION_STATE_LIVE),
        (True, True, pb.SESSION_STATE_PARKED),
        (False, False, pb.SESSION_STATE_RECORDING),
    ],
)
def test_a_session_is_live_or_parked_or_a_recording(
    is_live: bool, is_parked: bool, state: pb.SessionState.ValueType
) -> None:
    row = replace(ROW, is_live=is_live, is_parked=is_parked)
    assert to_session(row, "front_end_0").state == state

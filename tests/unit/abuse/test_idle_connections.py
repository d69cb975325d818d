"""Connections that hold on, against a front end whose patience is short."""

from __future__ import annotations

import asyncio
from random import Random
from time import monotonic

import pytest

from siren_grpc.abuse import idle_connections
from siren_grpc.abuse.idle_connections import KINDS, Idle, half_request, hold, no_request
from siren_grpc.abuse.outcome import Kind, Outcome
from tests.support.bare_front_end import front_end

IDLE_S = 0.2
HOLD_S = 3.0  # enough for a machine that does other things


@pytest.mark.parametrize("idle", [no_request, half_request])
async def test_a_call_whose_request_does_not_come_is_let_go(idle: Idle) -> None:
    async with front_end(idle_timeout_s=IDLE_S) as server:
        until_s = monotonic() + HOLD_S
        outcomes = await asyncio.gather(*(idle(server.target, Random(i), until_s) for i in (1, 2)))
    assert {outcome.label for outcome in outcomes} == {"DEADLINE_EXCEEDED IDLE_TIMEOUT"}
    assert {no_request, half_request} <= set(KINDS)


async def test_a_call_the_server_has_patience_with_holds_its_connection() -> None:
    async with front_end() as server:
        outcome = await no_request(server.target, Random(1), monotonic() + 0.2)
    assert outcome == Outcome(Kind.SERVED)


async def test_what_came_of_each_kind_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    async def no_use(target: str, random: Random, until_s: float) -> Outcome:
        return Outcome(Kind.STATUS, "OK")

    async def no_way_in(target: str, random: Random, until_s: float) -> Outcome:
        raise ConnectionRefusedError

    monkeypatch.setattr(idle_connections, "KINDS", (no_use, no_way_in))
    found = await hold("127.0.0.1:1", 5, hold_s=0, seed=1)
    assert found == {"no use": {"OK": 3}, "no way in": {"closed": 2}}

"""Whether every session of a server comes free again: counted by taking them all."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from time import monotonic

from siren_grpc.abuse.bad_calls import STREAM, config
from siren_grpc.abuse.http2 import Http2, message
from siren_grpc.abuse.outcome import Kind

_ANSWER_S = 20.0


async def all_sessions_free(target: str, n_sessions: int, *, deadline_s: float) -> str | None:
    """Open as many streams as the server has sessions, and one more, all at the same time.

    Returns None when all were taken and the last was refused, else what was wrong. It tries again
    until the deadline, seconds from now: sessions come free a moment behind their streams. Raises
    OSError when it cannot connect.
    """
    deadline = monotonic() + deadline_s
    while True:
        n_taken, refusal = await _fill(target, n_sessions + 1)
        if n_taken == n_sessions and refusal == "OVERLOADED":
            return None
        if monotonic() > deadline:
            return f"{n_taken} of {n_sessions} sessions could be taken; the next got {refusal!r}"
        await asyncio.sleep(1)


async def _fill(target: str, n_streams: int) -> tuple[int, str]:
    """Open streams until one is refused; return how many were taken and why it was not more."""
    async with AsyncExitStack() as stack:
        for n_taken in range(n_streams):
            connection = await stack.enter_async_context(await Http2.connect(target))
            stream = connection.begin(STREAM)
            connection.data(stream, message(config().SerializeToString()))
            answer = await connection.begins(stream, deadline_s=_ANSWER_S)
            if answer.kind is not Kind.SERVED:
                return n_taken, answer.reason or answer.label
        return n_streams, ""

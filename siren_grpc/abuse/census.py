"""Counting what a server holds: memory, descriptors, and whether every session comes free again."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from time import monotonic

import psutil

from siren_grpc.abuse.bad_calls import STREAM, config
from siren_grpc.abuse.http2 import Http2, message
from siren_grpc.abuse.outcome import Kind
from siren_grpc.observe.processes import ProcessUse, family_use

_POLL_S = 0.25
_ANSWER_S = 20.0


class Watch:
    """Samples a server's holdings for as long as its task runs."""

    def __init__(self, pid: int) -> None:
        """Note what it holds before."""
        self.before = family_use(pid)
        self.samples = [self.before]
        self._pid = pid

    async def run(self) -> None:
        """Sample until cancelled, or the server is gone."""
        while True:
            await asyncio.sleep(_POLL_S)
            try:
                self.samples.append(family_use(self._pid))
            except psutil.NoSuchProcess:
                return

    @property
    def peak_rss_bytes(self) -> int:
        """The most memory it held."""
        return max(sample.rss_bytes for sample in self.samples)

    @property
    def peak_descriptors(self) -> int:
        """The most descriptors it held."""
        return max(sample.fds for sample in self.samples)

    async def settle(self, *, deadline_s: float) -> ProcessUse:
        """Wait until it holds no more descriptors than before; return what it holds then."""
        deadline = monotonic() + deadline_s
        while True:
            now = family_use(self._pid)
            self.samples.append(now)
            if now.fds <= self.before.fds or monotonic() > deadline:
                return now
            await asyncio.sleep(_POLL_S)


async def all_sessions_free(target: str, n_sessions: int, *, deadline_s: float) -> str | None:
    """Open as many streams as the server has sessions, and one more, all at the same time.

    Returns None when all were taken and the last was refused, else what was wrong. It tries again
    until the deadline, for sessions come free a moment behind their streams.
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

"""Waiting for a client's next message, and no longer than it may take."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from siren_grpc.domain.errors import IdleTimeout

_T = TypeVar("_T")


def begin_read(read: Awaitable[_T]) -> asyncio.Future[_T]:
    """Begin a read of a call's next message, which ends with the call at the latest.

    Who waits for it gives up by `asyncio.wait`, and does not cancel it: gRPC would never free what
    it set aside for a read that nobody awaits (grpc/grpc#43360).
    """
    reading = asyncio.ensure_future(read)
    reading.add_done_callback(_see)
    return reading


async def read_in_time(read: Awaitable[_T], timeout_s: float, otherwise: str) -> _T:
    """Return a call's next message. Raises what the read raises.

    otherwise: the message of the IdleTimeout that is raised when the read takes longer.
    """
    reading = begin_read(read)
    await asyncio.wait((reading,), timeout=timeout_s)
    if not reading.done():
        raise IdleTimeout(otherwise)
    return reading.result()


def _see(reading: asyncio.Future[_T]) -> None:
    """Take note of how a read ended that nobody may wait for any more."""
    if not reading.cancelled():
        reading.exception()

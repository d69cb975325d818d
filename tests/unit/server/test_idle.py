"""Who does nothing any more is given up; who is only being served is not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from siren_grpc.server.attachment import Attachment
from siren_grpc.server.idle import watch_idle

TIMEOUT_S = 0.1


@dataclass
class Call:
    """A call that does not end until it is told to, and what was done to it."""

    attached: Attachment = field(init=False)
    is_stuck: bool = False
    n_ends: int = 0

    def __post_init__(self) -> None:
        handler = asyncio.create_task(asyncio.Event().wait())
        self.attached = Attachment(None, handler)  # type: ignore[arg-type]  # nobody reads

    @property
    def is_over(self) -> bool:
        assert self.attached.handler is not None
        return self.attached.handler.cancelled()

    def end(self) -> None:
        self.n_ends += 1
        self.attached.waiting_since = None

    def watch(self) -> asyncio.Task[None]:
        watching = watch_idle(
            self.attached, TIMEOUT_S, is_stuck=lambda: self.is_stuck, end=self.end
        )
        return asyncio.create_task(watching)


@pytest.fixture
async def call() -> AsyncIterator[Call]:
    call = Call()
    yield call
    assert call.attached.handler is not None
    call.attached.handler.cancel()


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_who_sends_nothing_is_told_and_given_the_time_that_its_results_take(
    call: Call,
) -> None:
    call.attached.waiting_since = now()
    watching = call.watch()
    await asyncio.sleep(5 * TIMEOUT_S)
    assert (call.n_ends, call.is_over) == (1, False)  # nothing has been there for it to read
    call.attached.sending_since = now()
    await asyncio.wait_for(watching, 10)
    await asyncio.sleep(0)
    assert (call.n_ends, call.is_over) == (1, True)


async def test_who_reads_nothing_of_a_stream_that_waits_for_it_is_given_up(call: Call) -> None:
    call.attached.sending_since = now()
    watching = call.watch()
    await asyncio.sleep(3 * TIMEOUT_S)
    assert not call.is_over  # there is room for more results
    call.is_stuck = True
    await asyncio.wait_for(watching, 10)
    await asyncio.sleep(0)
    assert (call.n_ends, call.is_over) == (0, True)

"""How a call ends whose stream goes on in another, or was given up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from siren.v1 import speech_pb2 as pb

from siren_grpc.server.attachment import Attachment


async def no_requests() -> AsyncIterator[pb.StreamingRecognizeRequest]:
    for request in ():
        yield request


async def test_a_call_that_waits_for_results_is_cancelled_at_once() -> None:
    handler = asyncio.create_task(asyncio.sleep(60))
    Attachment(no_requests(), handler).end()
    await asyncio.wait([handler], timeout=60)
    assert handler.cancelled()


async def test_a_result_on_its_way_is_sent_before_the_status() -> None:
    """gRPC's own wait, cancelled, would leave the client without a status."""
    handler = asyncio.create_task(asyncio.sleep(0.05, "sent"))
    Attachment(no_requests(), handler, sending_since=1.0).end()
    assert await handler == "sent"

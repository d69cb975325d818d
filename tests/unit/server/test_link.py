from __future__ import annotations

import asyncio
import pickle
import socket
import struct
from typing import Any

import numpy as np

from siren_grpc.server.link import Link


class End:
    """One end of a link, and what it has heard."""

    def __init__(self) -> None:
        self.heard: asyncio.Queue[Any] = asyncio.Queue()
        self.closed = asyncio.Event()
        self.link: Link

    async def over(self, end: socket.socket) -> End:
        self.link = await Link.connect(end, self.heard.put_nowait, self.closed.set)
        return self

    async def hear(self, count: int) -> list[Any]:
        return [await asyncio.wait_for(self.heard.get(), 60) for _ in range(count)]


async def both_ends() -> tuple[End, End]:
    ours, theirs = socket.socketpair()
    return await End().over(ours), await End().over(theirs)


async def test_messages_of_any_size_arrive_whole_and_in_order() -> None:
    ours, theirs = await both_ends()
    sizes = [0, 1, 5, 300_000, 2, 5_000_000, 3]
    for size in sizes:
        ours.link.send(np.full(size, size, np.float32))
        theirs.link.send(size)
    heard = await theirs.hear(len(sizes))
    assert [len(array) for array in heard] == sizes
    assert all((array == size).all() for array, size in zip(heard, sizes, strict=True))
    assert await ours.hear(len(sizes)) == sizes
    ours.link.close()
    theirs.link.close()


async def test_a_message_cut_anywhere_is_put_together() -> None:
    whole, raw = socket.socketpair()
    end = await End().over(whole)
    data = b"".join(_frames({"word": "siren"}, ["again"]))
    for i in range(len(data)):
        raw.send(data[i : i + 1])
        await asyncio.sleep(0)
    assert await end.hear(2) == [{"word": "siren"}, ["again"]]
    raw.close()
    end.link.close()


def _frames(*messages: object) -> list[bytes]:
    bodies = [pickle.dumps(message) for message in messages]
    return [struct.pack("<I", len(body)) + body for body in bodies]


async def test_what_was_sent_before_closing_arrives() -> None:
    ours, theirs = await both_ends()
    ours.link.send("last words")
    ours.link.close()
    assert await theirs.hear(1) == ["last words"]
    await asyncio.wait_for(theirs.closed.wait(), 60)
    theirs.link.send("to nobody")
    await asyncio.sleep(0)
    theirs.link.close()


async def test_an_end_that_is_gone_is_noticed() -> None:
    ours, theirs = await both_ends()
    theirs.link.close()
    await asyncio.wait_for(ours.closed.wait(), 60)
    ours.link.send("to nobody")
    await asyncio.sleep(0)
    ours.link.close()

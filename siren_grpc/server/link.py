"""Messages between the engine's process and a front end's, over a socket pair.

Pickled, each behind its length: both ends are this program, and the socket has no name that
anybody else could open.
"""

from __future__ import annotations

import asyncio
import pickle
import socket
import struct
from collections.abc import Callable
from typing import Any

_LENGTH = struct.Struct("<I")


class Link(asyncio.Protocol):
    """One end. What is sent within one turn of the event loop goes out in one piece."""

    def __init__(self, receive: Callable[[Any], None], on_closed: Callable[[], None]) -> None:
        """Made by `connect`."""
        self._receive = receive
        self._on_closed = on_closed
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._inbound = bytearray()
        self._outbound: list[bytes] = []

    @classmethod
    async def connect(
        cls,
        end: socket.socket,
        receive: Callable[[Any], None],
        on_closed: Callable[[], None] = lambda: None,
    ) -> Link:
        """Take over one end of a socket pair.

        receive: called with each message. on_closed: called once when the other end is gone.
        """
        loop = asyncio.get_running_loop()
        _, link = await loop.connect_accepted_socket(lambda: cls(receive, on_closed), end)
        return link

    def send(self, message: object) -> None:
        """Send a message; once the other end is gone, to nowhere."""
        if not self._outbound:
            self._loop.call_soon(self._flush)
        data = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
        self._outbound += (_LENGTH.pack(len(data)), data)

    def close(self) -> None:
        """Send what is waiting and close; harmless when it is closed already."""
        self._flush()
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        if not isinstance(transport, asyncio.Transport):
            raise TypeError("a socket pair makes a stream transport")
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        self._inbound += data
        start, end = 0, len(self._inbound)
        while end - start >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._inbound, start)
            body = start + _LENGTH.size
            if end - body < length:
                break
            start = body + length
            self._receive(pickle.loads(self._inbound[body:start]))
        del self._inbound[:start]

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._transport = None
        self._on_closed()

    def _flush(self) -> None:
        outbound, self._outbound = self._outbound, []
        if outbound and self._transport is not None:
            self._transport.writelines(outbound)

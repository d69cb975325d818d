"""HTTP/2 by hand: a connection that sends whatever it is told, and reads what comes back.

gRPC's own client would never send most of it, and hides how the server answers.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Iterable, Sequence

from hpack import Decoder, Encoder
from hyperframe.exceptions import HyperframeError
from hyperframe.frame import (
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from siren_grpc.abuse.answer import Answer
from siren_grpc.abuse.outcome import Kind, Outcome

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
MOST_PAYLOAD = 16_384
_HEADER_BYTES = 9
_OPEN = 65_535
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_PROBE = b"stillup?"


def split_target(target: str) -> tuple[str, int]:
    """Return host and port of HOST:PORT."""
    host, _, port = target.rpartition(":")
    return host.strip("[]"), int(port)


def message(data: bytes, *, flag: int = 0, length: int | None = None) -> bytes:
    """Frame a message for gRPC. length: what its prefix says, if that is not the truth."""
    return struct.pack(">BI", flag, len(data) if length is None else length) + data


class Http2:
    """A connection. Every reading method ends with a deadline; none raises for what it reads."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take a TCP connection over; `connect` makes one."""
        self._reader, self._writer = reader, writer
        self._encoder, self._decoder = Encoder(), Decoder()
        self._next_stream = 1
        self._is_half_closed = False
        self._window, self._stream_windows = _OPEN, dict[int, int]()
        self._initial_window = _OPEN
        self.received = 0
        """Bytes of data frames of the server."""

    @classmethod
    async def connect(cls, target: str, *, settings: dict[int, int] | None = None) -> Http2:
        """Connect and send the preface and our settings. Raises OSError."""
        connection = await cls.connect_silently(target)
        connection.send(PREFACE)
        connection.frame(SettingsFrame(0, settings=settings or {}))
        return connection

    @classmethod
    async def connect_silently(cls, target: str) -> Http2:
        """Connect and send nothing. Raises OSError."""
        host, port = split_target(target)
        return cls(*await asyncio.open_connection(host, port))

    async def __aenter__(self) -> Http2:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.vanish()

    def send(self, data: bytes) -> None:
        """Send any bytes; into the void behind `half_close`, or when the connection is lost."""
        if not (self._is_half_closed or self._writer.is_closing()):
            self._writer.write(data)

    def frame(self, frame: Frame) -> None:
        """Send a frame."""
        self.send(frame.serialize())

    def encode(self, headers: Iterable[tuple[str, str]]) -> bytes:
        """Compress headers."""
        return self._encoder.encode(list(headers), huffman=False)  # quick, and large

    def begin(
        self,
        path: str,
        *,
        headers: Sequence[tuple[str, str]] = (),
        ends: bool = False,
        http_method: str = "POST",
        content_type: str | None = "application/grpc",
    ) -> int:
        """Begin a call and return its stream."""
        stream, self._next_stream = self._next_stream, self._next_stream + 2
        self._stream_windows[stream] = self._initial_window
        all_headers = [
            *((":method", http_method), (":scheme", "http"), (":path", path)),
            *((":authority", "siren"), ("te", "trailers")),
            *((("content-type", content_type),) if content_type is not None else ()),
            *headers,
        ]
        frame = HeadersFrame(stream, data=self.encode(all_headers))
        frame.flags.add("END_HEADERS")
        if ends:
            frame.flags.add("END_STREAM")
        self.frame(frame)
        return stream

    def data(self, stream: int, data: bytes, *, ends: bool = False) -> None:
        """Send data regardless of the server's windows, in frames of the size all must take."""
        parts = [data[i : i + MOST_PAYLOAD] for i in range(0, len(data), MOST_PAYLOAD)] or [b""]
        for i, part in enumerate(parts):
            frame = DataFrame(stream, data=part)
            if ends and i == len(parts) - 1:
                frame.flags.add("END_STREAM")
            self.frame(frame)

    async def call(self, path: str, messages: Sequence[bytes], *, deadline_s: float) -> Outcome:
        """Make a call as a client that keeps to the protocol, and return how it ended."""
        stream = self.begin(path, ends=not messages)
        sending = b"".join(message(data) for data in messages)
        try:
            return await asyncio.wait_for(self._call(stream, sending), deadline_s)
        except asyncio.TimeoutError:
            self.reset(stream)
            return Outcome(Kind.HANGS)

    async def _call(self, stream: int, sending: bytes) -> Outcome:
        answer = Answer()
        start = 0
        while start < len(sending):
            room = min(self._window, self._stream_windows[stream], MOST_PAYLOAD)
            if room <= 0:
                outcome = await self._read_one(stream, answer)
                if outcome is not None:
                    return outcome
                continue
            part = sending[start : start + room]
            start += len(part)
            self._window -= len(part)
            self._stream_windows[stream] -= len(part)
            self.data(stream, part, ends=start == len(sending))
        return await self._read_to_end(stream, answer)

    async def ends(self, stream: int, *, deadline_s: float) -> Outcome:
        """Read until a call ends, or the connection does."""
        try:
            return await asyncio.wait_for(self._read_to_end(stream, Answer()), deadline_s)
        except asyncio.TimeoutError:
            return Outcome(Kind.HANGS)

    async def begins(self, stream: int, *, deadline_s: float) -> Outcome:
        """Read until a call has its first response, which is SERVED, or ends."""

        async def read() -> Outcome:
            answer, before = Answer(), self.received
            while self.received == before:
                outcome = await self._read_one(stream, answer)
                if outcome is not None:
                    return outcome
            return Outcome(Kind.SERVED)

        try:
            return await asyncio.wait_for(read(), deadline_s)
        except asyncio.TimeoutError:
            return Outcome(Kind.HANGS)

    async def is_served(self, *, deadline_s: float) -> Outcome:
        """Ping the server and return whether it answers that, or how the connection ends."""
        self.frame(PingFrame(0, opaque_data=_PROBE))
        return await self.ends(0, deadline_s=deadline_s)

    async def _read_to_end(self, stream: int, answer: Answer) -> Outcome:
        while True:
            outcome = await self._read_one(stream, answer)
            if outcome is not None:
                return outcome

    async def _read_one(self, stream: int, answer: Answer) -> Outcome | None:
        """Take a frame in; return how the stream, or the connection, ended with it."""
        try:
            head = await self._reader.readexactly(_HEADER_BYTES)
            frame, length = Frame.parse_frame_header(memoryview(head))
            frame.parse_body(memoryview(await self._reader.readexactly(length)))
        except (OSError, EOFError, HyperframeError):
            return Outcome(Kind.CLOSED)
        if isinstance(frame, GoAwayFrame) and (frame.error_code or not frame.last_stream_id):
            return Outcome(Kind.GOAWAY, message=str(frame.error_code))
        if isinstance(frame, SettingsFrame) and "ACK" not in frame.flags:
            self._take_settings(frame)
        elif isinstance(frame, PingFrame):
            if "ACK" not in frame.flags:
                self.frame(PingFrame(0, opaque_data=frame.opaque_data, flags=["ACK"]))
            elif frame.opaque_data == _PROBE and stream == 0:
                return Outcome(Kind.SERVED)
        elif isinstance(frame, WindowUpdateFrame):
            if frame.stream_id == 0:
                self._window += frame.window_increment
            elif frame.stream_id in self._stream_windows:
                self._stream_windows[frame.stream_id] += frame.window_increment
        elif isinstance(frame, HeadersFrame):
            return self._take_headers(frame, stream, answer)
        elif isinstance(frame, DataFrame):
            self._take_data(frame)
        elif isinstance(frame, RstStreamFrame) and frame.stream_id == stream:
            return answer.outcome() or Outcome(Kind.RESET, message=str(frame.error_code))
        return None

    def _take_settings(self, frame: SettingsFrame) -> None:
        initial = frame.settings.get(SettingsFrame.INITIAL_WINDOW_SIZE)
        if initial is not None:
            for stream in self._stream_windows:
                self._stream_windows[stream] += initial - self._initial_window
            self._initial_window = initial
        self.frame(SettingsFrame(0, flags=["ACK"]))

    def _take_headers(self, frame: HeadersFrame, stream: int, answer: Answer) -> Outcome | None:
        headers = {str(name): str(value) for name, value in self._decoder.decode(frame.data)}
        if frame.stream_id != stream:
            return None
        answer.headers.update(headers)
        if "END_STREAM" not in frame.flags:
            return None
        self._stream_windows.pop(stream, None)
        return answer.outcome() or Outcome(Kind.HTTP, answer.headers.get(":status", ""))

    def _take_data(self, frame: DataFrame) -> None:
        self.received += len(frame.data)
        if frame.flow_controlled_length:
            self.frame(WindowUpdateFrame(0, window_increment=frame.flow_controlled_length))

    def reset(self, stream: int, code: int = 8) -> None:
        """Cancel a call."""
        self.frame(RstStreamFrame(stream, error_code=code))

    async def flush(self, *, deadline_s: float = 2.0) -> None:
        """Wait until the system has taken what was sent, if it does; a server may not read."""
        try:
            await asyncio.wait_for(self._writer.drain(), deadline_s)
        except (OSError, asyncio.TimeoutError):
            return

    async def vanish(self) -> None:
        """Be gone, with a RST where the system can."""
        raw: socket.socket | None = self._writer.get_extra_info("socket")
        if raw is not None and raw.fileno() >= 0:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self._writer.transport.abort()
        await asyncio.sleep(0)

    def half_close(self) -> None:
        """Send nothing more, and say so with a FIN."""
        if not self._writer.is_closing():
            self._is_half_closed = True
            self._writer.write_eof()

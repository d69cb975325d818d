"""Attacks on TCP and on HTTP/2's frames; generated from a seed.

Each takes a target HOST:PORT and a deadline in seconds for the server's answer.
"""

from __future__ import annotations

from random import Random

from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from siren_grpc.abuse.bad_calls import LIST, STREAM, config
from siren_grpc.abuse.http2 import MOST_PAYLOAD, PREFACE, Http2, message
from siren_grpc.abuse.outcome import Kind, Outcome

_CLIENT_HELLO = bytes.fromhex("16030100700100006c0303") + bytes(101)
_LEFT = Outcome(Kind.LEFT)
_CONFIG = message(config().SerializeToString())


async def no_http2(target: str, random: Random, deadline_s: float) -> Outcome:
    """Speak something else: HTTP/1.1, TLS, noise, or half of the preface."""
    said = random.choice(
        (
            b"GET / HTTP/1.1\r\nHost: siren\r\n\r\n",
            b"POST " + STREAM.encode() + b" HTTP/1.1\r\nContent-Length: 99999\r\n\r\n",
            _CLIENT_HELLO,
            random.randbytes(random.choice((24, 100, 5000))),
            PREFACE[: random.randrange(1, len(PREFACE))] + b"\0" * 24,
            b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
        )
    )
    async with await Http2.connect_silently(target) as connection:
        connection.send(said)
        connection.half_close()
        return await connection.ends(0, deadline_s=deadline_s)


def raw_frame(
    kind: int, flags: int, stream: int, payload: bytes, length: int | None = None
) -> bytes:
    """Return a frame that need not make sense."""
    size = len(payload) if length is None else length
    return size.to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


async def bad_frame(target: str, random: Random, deadline_s: float) -> Outcome:
    """Send a frame that HTTP/2 forbids, or does not know."""
    data, headers, priority, rst, settings, push, ping, goaway, window, continuation = range(10)
    frames = (
        raw_frame(data, 0, 0, b"on no stream"),
        raw_frame(data, 0, 7, b"on one that is idle"),
        raw_frame(data, 8, 1, b"\xffpadding longer than the frame"),
        raw_frame(headers, 4, 2, b"\x82"),
        raw_frame(headers, 4, 1, random.randbytes(40)),
        raw_frame(headers, 4, 0, b"\x82"),
        raw_frame(headers, 0x24, 1, b"\0\0\0\1\0\x82"),
        raw_frame(priority, 0, 1, b"\0\0\0\1"),
        raw_frame(rst, 0, 0, bytes(4)),
        raw_frame(rst, 0, 9, bytes(4)),
        raw_frame(rst, 0, 1, bytes(3)),
        raw_frame(settings, 0, 1, b""),
        raw_frame(settings, 0, 0, bytes(5)),
        raw_frame(settings, 1, 0, bytes(6)),
        raw_frame(settings, 0, 0, b"\0\4\xff\xff\xff\xff"),
        raw_frame(settings, 0, 0, b"\0\5\0\0\0\1"),
        raw_frame(push, 4, 1, b"\0\0\0\2"),
        raw_frame(ping, 0, 0, bytes(7)),
        raw_frame(ping, 0, 3, bytes(8)),
        raw_frame(goaway, 0, 0, bytes(8)),
        raw_frame(goaway, 0, 1, bytes(8)),
        raw_frame(window, 0, 0, bytes(4)),
        raw_frame(window, 0, 0, b"\x7f\xff\xff\xff"),
        raw_frame(continuation, 4, 1, b"\x82"),
        raw_frame(random.randrange(10, 256), random.randrange(256), 1, random.randbytes(30)),
        raw_frame(random.randrange(10), random.randrange(256), random.choice((0, 1, 3)), bytes(9)),
        raw_frame(data, 0, 0, b"", length=2**24 - 1),
        raw_frame(headers, 4, 1, random.randbytes(50), length=MOST_PAYLOAD + 1),
    )
    async with await Http2.connect(target) as connection:
        connection.send(random.choice(frames))
        if random.random() < 0.3:
            connection.half_close()
            return await connection.ends(0, deadline_s=deadline_s)
        # A frame that is cut off waits for the rest of it, and takes the ping for that.
        return await connection.is_served(deadline_s=deadline_s)


async def truncated(target: str, random: Random, deadline_s: float) -> Outcome:
    """Break off within a frame of a good call, with a FIN or a RST."""
    frame = HeadersFrame(1, data=b"\x82" * 30)
    whole = PREFACE + SettingsFrame(0).serialize() + frame.serialize()
    whole += DataFrame(1, data=_CONFIG).serialize()
    async with await Http2.connect_silently(target) as connection:
        connection.send(whole[: random.randrange(1, len(whole))])
        if random.random() < 0.5:
            await connection.flush()
            return _LEFT
        connection.half_close()
        return await connection.ends(0, deadline_s=deadline_s)


async def flood(target: str, random: Random, deadline_s: float) -> Outcome:
    """Send very many small frames that each want an answer, or none."""
    kind = random.choice(("ping", "settings", "empty data", "window", "reset"))
    async with await Http2.connect(target) as connection:
        stream = connection.begin(STREAM)
        for i in range(random.choice((200, 2000))):
            if kind == "ping":
                connection.frame(PingFrame(0, opaque_data=i.to_bytes(8, "big")))
            elif kind == "settings":
                connection.frame(SettingsFrame(0, settings={SettingsFrame.INITIAL_WINDOW_SIZE: i}))
            elif kind == "empty data":
                connection.frame(DataFrame(stream))
            elif kind == "window":
                connection.frame(WindowUpdateFrame(stream, window_increment=1))
            else:
                connection.frame(RstStreamFrame(stream, error_code=8))
        return await connection.is_served(deadline_s=deadline_s)


async def endless_headers(target: str, random: Random, deadline_s: float) -> Outcome:
    """Never finish the headers of a call: CONTINUATION frames without end."""
    async with await Http2.connect(target) as connection:
        connection.frame(HeadersFrame(1, data=connection.encode([(":path", STREAM)])))
        for i in range(random.choice((3, 50, 500))):
            size = random.choice((0, 10, 1000))
            block = connection.encode([(f"x-{i}", "a" * size)]) if size else b""
            connection.frame(ContinuationFrame(1, data=block))
        return await connection.ends(0, deadline_s=0.2) if random.random() < 0.1 else _LEFT


async def never_reads(target: str, random: Random, deadline_s: float) -> Outcome:
    """Leave the server no window to answer in, and go."""
    closed = {SettingsFrame.INITIAL_WINDOW_SIZE: 0}
    async with await Http2.connect(target, settings=closed) as connection:
        for _ in range(random.choice((1, 20))):
            stream = connection.begin(random.choice((STREAM, LIST, "/x/y")))
            connection.data(stream, _CONFIG, ends=random.random() < 0.5)
        return await connection.is_served(deadline_s=deadline_s)


async def vanish(target: str, random: Random, deadline_s: float) -> Outcome:
    """Connect, perhaps begin calls, and be gone without a word."""
    async with await Http2.connect_silently(target) as connection:
        depth = random.randrange(4)
        if depth >= 1:
            connection.send(PREFACE)
        if depth >= 2:
            connection.frame(SettingsFrame(0))
        if depth >= 3:
            for _ in range(random.randint(1, 5)):
                stream = connection.begin(STREAM)
                connection.data(stream, _CONFIG)
        if random.random() < 0.5:
            await connection.flush()
    return _LEFT

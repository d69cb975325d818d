"""Many connections that hold on to the server without using it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from random import Random
from time import monotonic

from hyperframe.frame import ContinuationFrame, HeadersFrame, SettingsFrame

from siren_grpc.abuse.bad_calls import LIST, RECOGNIZE, STREAM, audio, config
from siren_grpc.abuse.http2 import PREFACE, Http2, message
from siren_grpc.abuse.outcome import Kind, Outcome

_CONFIG = message(config().SerializeToString())
_DRIBBLE_S = 0.5
_BIG_BYTES = 200_000
_AT_ONCE = 50
_STILL_GOOD = Outcome(Kind.SERVED)
Idle = Callable[[str, Random, float], Awaitable[Outcome]]
"""Holds a connection until a moment of the monotonic clock.

Returns how it was by then or, of a call on it that was to be answered by then, the answer.
"""


async def silent(target: str, random: Random, until_s: float) -> Outcome:
    """Connect and say nothing."""
    async with await Http2.connect_silently(target) as connection:
        return await _hold(connection, until_s)


async def slow_preface(target: str, random: Random, until_s: float) -> Outcome:
    """Send the preface a byte at a time."""
    async with await Http2.connect_silently(target) as connection:
        return await _dribble(connection, PREFACE * 100, until_s)


async def slow_headers(target: str, random: Random, until_s: float) -> Outcome:
    """Begin a call whose headers never end, a piece at a time."""
    async with await Http2.connect(target) as connection:
        connection.frame(HeadersFrame(1, data=connection.encode([(":path", STREAM)])))
        pieces = (
            ContinuationFrame(1, data=connection.encode([(f"x-{i}", "a")])).serialize()
            for i in range(10_000)
        )
        while monotonic() < until_s:
            connection.send(next(pieces))
            outcome = await connection.ends(0, deadline_s=min(_DRIBBLE_S, _left(until_s)))
            if outcome.kind is not Kind.HANGS:
                return outcome
        return _STILL_GOOD


async def no_call(target: str, random: Random, until_s: float) -> Outcome:
    """Greet, and make no call."""
    async with await Http2.connect(target) as connection:
        return await _hold(connection, until_s)


async def no_config(target: str, random: Random, until_s: float) -> Outcome:
    """Begin a call and send it nothing."""
    async with await Http2.connect(target) as connection:
        connection.begin(STREAM)
        return await _hold(connection, until_s)


async def never_reads(target: str, random: Random, until_s: float) -> Outcome:
    """Ask for much and take none of it: a window of 0, and a socket nobody reads."""
    closed = {SettingsFrame.INITIAL_WINDOW_SIZE: 0}
    async with await Http2.connect(target, settings=closed) as connection:
        for _ in range(20):
            stream = connection.begin(LIST)
            connection.data(stream, message(b""), ends=True)
        stream = connection.begin(STREAM)
        connection.data(stream, _CONFIG + message(audio(bytes(32_000)).SerializeToString()))
        await asyncio.sleep(max(0.0, _left(until_s)))
        return _STILL_GOOD


async def no_request(target: str, random: Random, until_s: float) -> Outcome:
    """Begin a call that takes one request, and send it none: IDLE_TIMEOUT, if there is time."""
    return await _hold_call(target, random.choice((LIST, RECOGNIZE)), b"", until_s)


async def half_request(target: str, random: Random, until_s: float) -> Outcome:
    """Send half of the one request that a call takes: IDLE_TIMEOUT, if there is time."""
    return await _hold_call(target, RECOGNIZE, message(bytes(60_000), length=30 << 20), until_s)


async def half_message(target: str, random: Random, until_s: float) -> Outcome:
    """Announce a large message, send as much of it as the window takes, and stop."""
    async with await Http2.connect(target) as connection:
        stream = connection.begin(STREAM)
        connection.data(stream, _CONFIG)
        connection.data(stream, message(bytes(60_000), length=30 << 20))
        return await _hold(connection, until_s)


async def floods(target: str, random: Random, until_s: float) -> Outcome:
    """Send more than any window allows."""
    async with await Http2.connect(target) as connection:
        stream = connection.begin(STREAM)
        connection.data(stream, _CONFIG + message(bytes(_BIG_BYTES), length=30 << 20))
        return await _hold(connection, until_s)


async def takes_a_session(target: str, random: Random, until_s: float) -> Outcome:
    """Open a stream and leave it."""
    async with await Http2.connect(target) as connection:
        stream = connection.begin(STREAM)
        connection.data(stream, _CONFIG)
        return await _hold(connection, until_s)


KINDS: tuple[Idle, ...] = (
    *(silent, slow_preface, slow_headers, no_call, no_config),
    *(never_reads, half_message, floods, takes_a_session),
    *(no_request, half_request),
)


async def hold(
    target: str, n_connections: int, *, hold_s: float, seed: int
) -> dict[str, dict[str, int]]:
    """Hold so many connections of all kinds at once; return how each kind was in the end.

    hold_s: seconds from now. Returns how often each outcome was, by kind.
    """
    found: dict[str, Counter[str]] = {idle.__name__: Counter() for idle in KINDS}
    opening = asyncio.Semaphore(_AT_ONCE)
    until_s = monotonic() + hold_s

    async def one(number: int) -> None:
        idle = KINDS[number % len(KINDS)]
        random = Random(f"{seed}:{number}")
        async with opening:  # so that the system's queue of new connections holds them
            await asyncio.sleep(random.random() * _AT_ONCE / n_connections)
        try:
            outcome = await idle(target, random, until_s)
        except OSError:
            outcome = Outcome(Kind.CLOSED)
        found[idle.__name__][outcome.label] += 1

    await asyncio.gather(*(one(number) for number in range(n_connections)))
    return {name.replace("_", " "): dict(kinds) for name, kinds in found.items()}


async def _hold(connection: Http2, until_s: float, *, stream: int = 0) -> Outcome:
    """Answer pings, and do no more, until the moment or the end of a call or the connection.

    stream: of the call; 0 for none.
    """
    outcome = await connection.ends(stream, deadline_s=max(0.01, _left(until_s)))
    return _STILL_GOOD if outcome.kind is Kind.HANGS else outcome


async def _hold_call(target: str, path: str, sent: bytes, until_s: float) -> Outcome:
    """Begin a call, send it so much, and hold on to the connection; return the call's answer."""
    async with await Http2.connect(target) as connection:
        stream = connection.begin(path)
        if sent:
            connection.data(stream, sent)
        outcome = await _hold(connection, until_s, stream=stream)
        await _hold(connection, until_s)
        return outcome


async def _dribble(connection: Http2, data: bytes, until_s: float) -> Outcome:
    for i in range(len(data)):
        if monotonic() >= until_s:
            break
        connection.send(data[i : i + 1])
        outcome = await connection.ends(0, deadline_s=min(_DRIBBLE_S, max(0.01, _left(until_s))))
        if outcome.kind is not Kind.HANGS:
            return outcome
    return _STILL_GOOD


def _left(until_s: float) -> float:
    return until_s - monotonic()

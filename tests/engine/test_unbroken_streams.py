"""What a caller of the client library sees does not depend on the connections that were lost."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from random import Random
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from siren.v1 import speech_pb2 as pb

from siren_client import (
    Control,
    Final,
    FinalCause,
    Partial,
    Reconnect,
    Result,
    Resumed,
    SirenError,
    SpeechEvent,
    Started,
    Update,
)
from siren_client.unbroken import GiveUp, UnbrokenStream
from siren_grpc.server import reader
from siren_grpc.server.service import SpeechService
from tests.support.client_results import BROKEN, UNKNOWN, assert_promises
from tests.support.history.play import Aborted, Context
from tests.support.history.world import open_world

POLICY = Reconnect(deadline_s=1000, first_delay_s=0, max_delay_s=0)
Item = bytes | Control | Update


@dataclass(frozen=True)
class Break:
    """A call lost. requests: sent in it before; turns: of the event loop behind them; lost:
    responses that were on their way; moves: the next call reaches another server."""

    requests: int
    turns: int
    lost: int
    moves: bool


breaks = st.builds(Break, st.integers(0, 12), st.integers(0, 40), st.integers(0, 4), st.booleans())
SOFT = pb.EndpointingConfig(min_silence_ms=300, state="STATE_SOFT")
HARD = pb.EndpointingConfig(min_silence_ms=300, state="STATE_HARD")
rules = st.sampled_from(
    [
        None,
        SOFT,
        HARD,
        pb.EndpointingConfig(max_utterance_ms=1000),
    ]
)


@dataclass(frozen=True)
class Sound:
    """Noise without the sample that poisons or, of an even seed, silence."""

    seed: int
    n_samples: int

    @property
    def pcm(self) -> bytes:
        """16 kHz LINEAR16."""
        if self.seed % 2 == 0:
            return bytes(2 * self.n_samples)
        return Random(self.seed).randbytes(2 * self.n_samples).replace(b"\x00\x80", b"\x01\x01")


audio = st.builds(Sound, st.integers(0, 99), st.integers(1, 12_000))
controls = st.sampled_from([Control.FINALIZE, Control.RESET, Update(partial_interval_ms=80)])
# Five calls without an answer are enough for a client to give up.
losses_of = st.lists(breaks, min_size=1, max_size=4)
items = st.lists(st.one_of(audio, audio, audio, audio, controls), min_size=2, max_size=20)


class Line:
    """One call of the client's stream to a service in this process."""

    def __init__(self, service: SpeechService, first: pb.StreamingRecognizeRequest) -> None:
        self.requests: asyncio.Queue[pb.StreamingRecognizeRequest | None] = asyncio.Queue()
        self.requests.put_nowait(first)
        self.responses: list[pb.StreamingRecognizeResponse] = []
        self.is_resuming = first.HasField("resume")
        self.error: SirenError | None = None
        self.task = asyncio.create_task(self._run(service))

    async def _read(self) -> AsyncIterator[pb.StreamingRecognizeRequest]:
        while (request := await self.requests.get()) is not None:
            yield request

    async def _run(self, service: SpeechService) -> None:
        try:
            async for response in service.StreamingRecognize(self._read(), Context()):  # type: ignore[arg-type]
                # A copy, as a wire makes one: the client moves the times in it, and the service
                # may have to say the same again.
                copied = pb.StreamingRecognizeResponse()
                copied.CopyFrom(response)
                self.responses.append(copied)
        except Aborted as aborted:
            if not self.is_resuming or aborted.reason != "INVALID_CONFIG":
                raise
            self.error = UNKNOWN
        finally:
            self.requests.put_nowait(None)  # gRPC ends a read with its call


async def listen(
    services: Sequence[SpeechService],
    config: pb.StreamingConfig,
    given: Sequence[Item],
    losses: Sequence[Break],
) -> list[Result]:
    """Run a stream as the clients do, its calls lost as told; return what its caller sees."""
    stream = UnbrokenStream(config, POLICY)
    left, losing = list(given), list(losses)
    seen: list[Result] = []
    place = 0
    while True:
        line = Line(services[place % len(services)], stream.begin_call())
        loss = losing.pop(0) if losing else None
        error = await talk(stream, line, left, seen, loss)
        if error is None:
            return seen
        if loss is not None and loss.moves:
            place += 1
        outcome = stream.fail(error, now=0.0, jitter=0.0)
        if isinstance(outcome, GiveUp):
            assert outcome == GiveUp((), None), outcome
            return seen


async def talk(
    stream: UnbrokenStream, line: Line, left: list[Item], seen: list[Result], loss: Break | None
) -> SirenError | None:
    """Run one call; return what it failed with."""
    n_sent = n_read = 0
    turns = 0 if loss is None else loss.turns
    is_over = False

    def read(behind: int) -> None:
        nonlocal n_read
        for response in line.responses[n_read : len(line.responses) - behind]:
            n_read += 1
            seen.extend(stream.receive(response, now=0.0))

    while not line.task.done():
        if loss is not None and n_sent >= loss.requests:
            if turns == 0:
                line.task.cancel()
                return BROKEN
            turns -= 1
        elif (request := stream.next_request()) is not None:
            line.requests.put_nowait(request)
            n_sent += 1
        elif stream.wants_audio:
            stream.push(left.pop(0)) if left else stream.end()
        elif stream.is_done_sending and not is_over:
            line.requests.put_nowait(None)
            is_over = True
        read(loss.lost if loss is not None and n_sent >= loss.requests else 0)
        # A turn of the loop may be all there is time for, or long enough for a step.
        await asyncio.sleep(0.0005 if turns % 3 == 2 or is_over or loss is None else 0)
    read(0)
    line.task.result()  # a status that is not expected is no end of the stream
    return line.error


def essence(results: Sequence[Result]) -> list[tuple[object, ...]]:
    """Return what must not depend on breaks: all but partials, in order."""
    kept: list[tuple[object, ...]] = []
    for result in results:
        if isinstance(result, Final):
            times = (result.start_s, result.end_s)
            # Behind an endpoint seq is never below that of a partial, and partials come and go.
            is_told = result.cause in (FinalCause.FINALIZE, FinalCause.END)
            seq = result.seq if is_told else None
            kept.append(("final", result.text, seq, *times, result.cause))
        elif isinstance(result, SpeechEvent):
            kept.append(("event", result.type, result.time_s))
        elif not isinstance(result, (Partial, Started, Resumed)):
            kept.append((type(result).__name__, getattr(result, "partial_interval_ms", None)))
    return kept


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Do not wait for messages behind the end: there are none."""
    monkeypatch.setattr(reader, "_END_LINGER_S", 0.001)
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


async def compare(
    config: dict[str, Any], script: Sequence[Sound | Control | Update], losses: Sequence[Break]
) -> None:
    given = [item.pcm if isinstance(item, Sound) else item for item in script]
    async with AsyncExitStack() as stack:
        worlds = [
            await stack.enter_async_context(open_world(n_slots=32, max_samples=None))
            for _ in range(2)
        ]
        services = [world.service for world in worlds]
        unbroken = await listen(services, pb.StreamingConfig(**config), given, [])
        broken = await listen(services, pb.StreamingConfig(**config), given, losses)
    assert essence(broken) == essence(unbroken)
    has_reset = Control.RESET in given
    assert_promises(unbroken, has_reset=has_reset)
    assert_promises(broken, has_reset=has_reset)


@example(  # finals of soft endpoints, which a replay repeats, are certain to have come
    [Sound(1, 9000), Sound(2, 9000), Sound(3, 9000), Sound(4, 9000), Sound(5, 9000)],
    [Break(4, 150, 0, True), Break(6, 150, 1, True), Break(3, 20, 2, False)],
    SOFT,
    2,
)
@example(  # speech that starts where a reset is, and was shown
    [Control.RESET, Sound(1, 1480)], [Break(1, 0, 0, False), Break(2, 2, 0, True)], None, 2
)
@example(  # speech behind a reset of which the replay hears no partial first
    [Sound(0, 1), Sound(0, 5), Control.FINALIZE, Sound(0, 8633), Control.RESET, Sound(1, 1861)],
    [Break(2, 0, 0, False), Break(5, 2, 0, True)],
    None,
    7,
)
@example(  # a hard endpoint at the end of the audio, heard again from its utterance's own start
    [Sound(0, 1), Sound(0, 3700), Sound(1, 3499)], [Break(4, 3, 0, True)], HARD, 7
)
@settings(max_examples=40, deadline=None)
@given(items, losses_of, rules, st.sampled_from([2, 7]))
def test_lost_connections_change_nothing(given, losses, endpointing, chunk_frames) -> None:
    config = {"endpointing": endpointing, "chunk_frames": chunk_frames}
    asyncio.run(asyncio.wait_for(compare(config, given, losses), 60))


@pytest.mark.long
@settings(max_examples=3000, deadline=None)
@given(items, losses_of, rules, st.sampled_from([2, 7]))
def test_lost_connections_change_nothing_in_thousands(
    given, losses, endpointing, chunk_frames
) -> None:
    config = {"endpointing": endpointing, "chunk_frames": chunk_frames}
    asyncio.run(asyncio.wait_for(compare(config, given, losses), 60))

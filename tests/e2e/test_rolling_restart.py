"""Replicas are restarted one after the other while people speak.

A third of the streams come through HAProxy and a third through Envoy, with the configurations in
deploy/; the others balance by themselves with the service config there.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from siren_client import (
    AsyncSirenClient,
    Control,
    Endpointing,
    Final,
    FinalCause,
    Partial,
    Reconnect,
    Result,
    Resumed,
)
from tests.support.audio import ROOT, spoken_digits
from tests.support.client_results import assert_promises, essence
from tests.support.programs import needs_program
from tests.support.proxies import Proxy, envoy_program, start_envoy, start_haproxy
from tests.support.replicas import Replicas
from tests.support.wire import every

pytestmark = pytest.mark.e2e

HERTZ = 16_000
PACKET_S = 0.1
PACKET = int(2 * HERTZ * PACKET_S)
SPOKEN = [r.pcm for r in spoken_digits() if r.sample_rate_hertz == HERTZ]
GAP = bytes(2 * HERTZ * 6 // 5)
SERVICE_CONFIG = ROOT / "deploy" / "grpc" / "service_config.json"
ROUNDS = 2
PATIENT = Reconnect(deadline_s=120, first_delay_s=0.05, max_delay_s=1.0)
KINDS: tuple[dict, ...] = (
    {"endpointing": Endpointing(min_silence_ms=500)},
    {"endpointing": Endpointing(min_silence_ms=500, hard=True)},
    {"endpointing": Endpointing(min_silence_ms=500), "words": True},
    {"endpointing": Endpointing(min_silence_ms=800), "finalize_every": 70},
)
"""Options of streams; finalize_every: packets between two ACTION_FINALIZE."""


@dataclass
class Speaker:
    """A stream that goes on until told after how many packets to end.

    Of two of the same kind and voice, both send the same.
    """

    kind: int
    voice: int
    results: list[Result] = field(default_factory=list)
    n_packets: int = 0

    @property
    def options(self) -> dict:
        return {k: v for k, v in KINDS[self.kind].items() if k != "finalize_every"}

    def items(self) -> Iterator[bytes | Control]:
        rotated = SPOKEN[self.voice :] + SPOKEN[: self.voice]
        packets = every(PACKET, b"".join(part + GAP for part in rotated))
        finalize_every = KINDS[self.kind].get("finalize_every")
        for number, packet in enumerate(itertools.cycle(list(packets))):
            if finalize_every and number and number % finalize_every == 0:
                yield Control.FINALIZE
            yield packet


def take(items: Iterator[bytes | Control], n_packets: int) -> Iterator[bytes | Control]:
    """Cut behind so many packets of audio."""
    n = 0
    for item in items:
        if isinstance(item, bytes):
            if n == n_packets:
                return
            n += 1
        yield item


class Round:
    """Streams paced as speech, until the restarts are done."""

    def __init__(self) -> None:
        self._n_packets: int | None = None
        self._n_most = 0

    async def audio(self, speaker: Speaker) -> AsyncIterator[bytes | Control]:
        loop = asyncio.get_running_loop()
        start = loop.time()
        for item in speaker.items():
            if isinstance(item, bytes):
                if self._n_packets is not None and speaker.n_packets == self._n_packets:
                    return
                await asyncio.sleep(start + speaker.n_packets * PACKET_S - loop.time())
                speaker.n_packets += 1
                self._n_most = max(self._n_most, speaker.n_packets)
            yield item

    def finish(self) -> None:
        """Let every stream end, all at the same packet."""
        self._n_packets = self._n_most + 5


async def speak(
    client: AsyncSirenClient, speaker: Speaker, of_round: Round, delay_s: float
) -> None:
    await asyncio.sleep(delay_s)
    stream = client.stream(of_round.audio(speaker), reconnect=PATIENT, **speaker.options)
    async for result in stream:
        speaker.results.append(result)


async def until_heard(speakers: list[Speaker], talks: list[asyncio.Task[None]]) -> None:
    """Wait until every stream has words."""
    while not all(any(isinstance(r, Partial) and r.text for r in s.results) for s in speakers):
        for talk in talks:
            if talk.done():
                talk.result()
        await asyncio.sleep(0.1)


async def rolling_restart(cluster: Cluster, speakers: list[Speaker]) -> list[int]:
    """Restart all replicas, one after the other, while the speakers speak; return exit codes."""
    of_round, codes, replicas = Round(), [], cluster.replicas
    async with AsyncExitStack() as stack:
        ways = [await stack.enter_async_context(client) for client in cluster.clients()]
        clients = itertools.cycle(ways)
        talks = [
            asyncio.create_task(speak(client, speaker, of_round, 2.0 * i / len(speakers)))
            for i, (speaker, client) in enumerate(zip(speakers, clients, strict=False))
        ]
        try:
            await asyncio.wait_for(until_heard(speakers, talks), 240)
            for index in range(len(replicas.servers)):
                codes.append(await asyncio.to_thread(replicas.restart, index))
        finally:
            of_round.finish()
            await asyncio.wait(talks, timeout=300)
        for talk in talks:
            talk.result()
    return codes


async def undisturbed(target: str, kind: int, voice: int, n_packets: int) -> list[Result]:
    speaker = Speaker(kind, voice)

    async def audio() -> AsyncIterator[bytes | Control]:
        for item in take(speaker.items(), n_packets):
            yield item

    async with AsyncSirenClient(target) as client:
        stream = client.stream(audio(), reconnect=None, **speaker.options)
        return [result async for result in stream]


def confidences(results: list[Result]) -> list[float | None]:
    finals = [result for result in results if isinstance(result, Final)]
    return [word.confidence for final in finals for word in final.words]


async def check_round(cluster: Cluster, n_speakers: int) -> str:
    """Restart the replicas under so many streams, and compare with nobody restarting anything."""
    pairs = itertools.cycle(itertools.product(range(len(SPOKEN)), range(len(KINDS))))
    speakers = [Speaker(kind, voice) for voice, kind in itertools.islice(pairs, n_speakers)]

    codes = await rolling_restart(cluster, speakers)

    assert codes == [0] * len(codes)
    (n_packets,) = {speaker.n_packets for speaker in speakers}
    expected = {
        (kind, voice): await undisturbed(cluster.proxies[0].target, kind, voice, n_packets)
        for kind, voice in sorted({(s.kind, s.voice) for s in speakers})
    }
    n_finals = n_moves = 0
    for speaker in speakers:
        undisturbed_one = expected[speaker.kind, speaker.voice]
        assert essence(speaker.results, confidence=False) == essence(
            undisturbed_one, confidence=False
        )
        assert confidences(speaker.results) == pytest.approx(confidences(undisturbed_one), abs=0.01)
        assert_promises(speaker.results)
        finals = [r for r in speaker.results if isinstance(r, Final)]
        assert [f.cause for f in finals].count(FinalCause.END) == 1
        assert any(f.text for f in finals)
        n_finals += len(finals)
        # Whoever served it at first was restarted.
        moves = [r for r in speaker.results if isinstance(r, Resumed)]
        assert moves
        n_moves += len(moves)
    for server in cluster.replicas.servers:
        # Proxy and clients ask for health: nobody was sent to a server that was not ready.
        assert "still loading its model" not in server.log
    return (
        f"{n_speakers} streams of {n_packets * PACKET_S:.1f} s: moved {n_moves} times, "
        f"{n_finals} finals as undisturbed"
    )


@dataclass
class Cluster:
    """Replicas, and the ways to them."""

    replicas: Replicas
    proxies: list[Proxy]

    def clients(self) -> list[AsyncSirenClient]:
        """Return one for each way: through a proxy, and straight."""
        addresses = ",".join(f"127.0.0.1:{port}" for port in self.replicas.ports)
        config = SERVICE_CONFIG.read_text(encoding="utf-8")
        balancing = AsyncSirenClient(f"ipv4:{addresses}", options=[("grpc.service_config", config)])
        return [*(AsyncSirenClient(proxy.target) for proxy in self.proxies), balancing]


@contextmanager
def running_cluster(n_replicas: int, folder: Path) -> Iterator[Cluster]:
    """Start servers, and proxies in front of them."""
    with ExitStack() as stack:
        replicas = Replicas(
            *(n_replicas, "--max-sessions", "64", "--max-batch", "16", "--threads", "1"),
            *("--front-ends", "1", "--shutdown-grace-s", "1"),
        )
        stack.enter_context(closing(replicas))
        proxies = [stack.enter_context(closing(start_haproxy(replicas.ports, folder)))]
        envoy = envoy_program()
        if envoy is not None:
            proxies.append(stack.enter_context(closing(start_envoy(envoy, replicas.ports, folder))))
        replicas.wait_serving()
        for proxy in proxies:
            proxy.wait_ready()
        yield Cluster(replicas, proxies)


async def test_a_rolling_restart_loses_and_doubles_nothing(tmp_path: Path) -> None:
    needs_program("haproxy", "haproxy")
    with running_cluster(2, tmp_path) as cluster:
        print(await check_round(cluster, 8))


@pytest.mark.long
async def test_fifty_streams_through_rolling_restarts(tmp_path: Path) -> None:
    needs_program("haproxy", "haproxy")
    with running_cluster(3, tmp_path) as cluster:
        for _ in range(ROUNDS):
            print(await check_round(cluster, 50))

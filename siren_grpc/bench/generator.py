"""Processes that play many streams at once against a server."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from time import monotonic

from siren_client import AsyncSirenClient, RecognitionOptions
from siren_grpc.bench.audio import load_recordings
from siren_grpc.bench.player import StreamReport, play, write_script
from siren_grpc.bench.schedule import staggered_starts

_STREAMS_PER_CHANNEL = 16
_LEAD_S = 1.0
"""Time for every process to prepare its streams."""


@dataclass(frozen=True, slots=True)
class Load:
    """What one rung plays: `n_streams` of `seconds` each, started over `stagger_s`."""

    target: str
    n_streams: int
    seconds: float
    stagger_s: float
    sample_rate_hertz: int
    packet_ms: int
    jitter_ms: float
    recordings: Sequence[Path]
    options: RecognitionOptions
    seed: int


@dataclass(frozen=True, slots=True)
class _Share:
    """One process's part of a load: the numbers of its streams, and when the load starts."""

    load: Load
    numbers: Sequence[int]
    start_at: float


class Generator:
    """A few processes, started once, that play one load after another."""

    def __init__(self, n_processes: int) -> None:
        """Start the processes; `close` ends them."""
        context = multiprocessing.get_context("spawn")
        self._connections: list[Connection] = []
        self._processes = []
        for _ in range(n_processes):
            ours, theirs = context.Pipe()
            process = context.Process(target=_work, args=(theirs,), daemon=True)
            process.start()
            self._connections.append(ours)
            self._processes.append(process)
        for connection in self._connections:
            connection.recv()  # it has imported everything

    def close(self) -> None:
        """End the processes, once they have played what they play."""
        for connection in self._connections:
            connection.send(None)
        for process in self._processes:
            process.join(10)

    @property
    def pids(self) -> list[int]:
        """The processes' ids."""
        return [process.pid for process in self._processes if process.pid is not None]

    def start(self, load: Load) -> float:
        """Begin a load; return when its first stream starts, on the monotonic clock.

        The clock is the machine's: the same in all processes.
        """
        start_at = monotonic() + _LEAD_S + 0.02 * load.n_streams
        n_processes = len(self._connections)
        for i, connection in enumerate(self._connections):
            numbers = range(i, load.n_streams, n_processes)
            connection.send(_Share(load, numbers, start_at))
        return start_at

    def collect(self) -> list[StreamReport]:
        """Wait for the end of the load; return what became of each stream.

        Raises EOFError when a process is gone.
        """
        return [report for connection in self._connections for report in connection.recv()]


def _work(connection: Connection) -> None:
    """Play what comes over the connection, until None does."""
    connection.send("ready")
    while (share := connection.recv()) is not None:
        connection.send(asyncio.run(_play_all(share)))


async def _play_all(share: _Share) -> list[StreamReport]:
    load = share.load
    recordings = load_recordings(load.recordings, sample_rate_hertz=load.sample_rate_hertz)
    starts = staggered_starts(load.n_streams, load.stagger_s, Random(load.seed))
    scripts = [
        write_script(
            recordings,
            sample_rate_hertz=load.sample_rate_hertz,
            seconds=load.seconds,
            packet_ms=load.packet_ms,
            jitter_ms=load.jitter_ms,
            seed=1000 * load.seed + number,
        )
        for number in share.numbers
    ]
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(
                # Without a pool of its own, all channels would share one connection.
                AsyncSirenClient(load.target, options=[("grpc.use_local_subchannel_pool", 1)])
            )
            for _ in range(0, len(scripts), _STREAMS_PER_CHANNEL)
        ]
        return await asyncio.gather(
            *(
                play(
                    clients[i // _STREAMS_PER_CHANNEL],
                    script,
                    load.options,
                    start_at=share.start_at + starts[number],
                )
                for i, (number, script) in enumerate(zip(share.numbers, scripts, strict=True))
            )
        )

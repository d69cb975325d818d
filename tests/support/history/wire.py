"""Plays scripts over gRPC against a real server, each stream through a proxy of its own."""

from __future__ import annotations

import asyncio
import queue
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import grpc
from siren.v1 import speech_pb2 as pb
from siren.v1 import speech_pb2_grpc

from tests.support.faulty_proxy import FaultyProxy
from tests.support.history.checker import Violation, check
from tests.support.history.generate import Trouble, draw, undisturbed
from tests.support.history.play import Call, play
from tests.support.history.record import History, Left, to_told
from tests.support.wire import failure

_TIMEOUT_S = 60
_OPTIONS = (("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0))
_THREADS = ThreadPoolExecutor(64, "wire-call")


class WireCall(Call):
    """A call over a connection of its own, which breaks when the call is lost."""

    def __init__(
        self,
        upstream: str,
        history: History,
        number: int,
        first: pb.StreamingRecognizeRequest,
        **timing: Any,
    ) -> None:
        self._proxy = FaultyProxy(upstream)
        self._outgoing: queue.Queue[pb.StreamingRecognizeRequest | None] = queue.Queue()
        self._outgoing.put(first)
        self._call: Any = None
        # The base class runs `_run(service)`; here there is no service in this process.
        super().__init__(None, history, number, first, **timing)  # type: ignore[arg-type]

    async def _run(self, service: object) -> None:
        loop = asyncio.get_running_loop()
        try:
            reason = await loop.run_in_executor(_THREADS, self._exchange, loop)
        finally:
            self._proxy.close()
        self._end(reason)

    def _exchange(self, loop: asyncio.AbstractEventLoop) -> str:
        """Run the call in a thread; return the reason it ended with.

        Not with grpc.aio: that forgets the status of a call that ends while it writes.
        """
        with grpc.insecure_channel(self._proxy.target, options=_OPTIONS) as channel:
            stub = speech_pb2_grpc.SpeechServiceStub(channel)
            self._call = stub.StreamingRecognize(iter(self._outgoing.get, None), timeout=_TIMEOUT_S)
            try:
                for response in self._call:
                    loop.call_soon_threadsafe(self._tell, to_told(self.number, response))
                    if self._delay is not None:
                        time.sleep(self._delay())
            except grpc.RpcError as error:
                return failure(error).reason if self._is_answered(error) else str(error.code())
            finally:
                self._outgoing.put(None)
        return "OK"

    @staticmethod
    def _is_answered(error: grpc.RpcError) -> bool:
        return any(key == "grpc-status-details-bin" for key, _ in error.trailing_metadata() or ())

    def send(self, request: pb.StreamingRecognizeRequest | None) -> None:
        """See `Call`."""
        self._outgoing.put(request)

    async def cut(self, *, says_end: bool = False) -> None:
        """Lose the call: with its connection, or cancelled."""
        self._is_cut = True
        self._history.records.append(Left(self.number))
        if says_end and self._call is not None:
            self._call.cancel()
        else:
            self._proxy.cut(with_reset=self.number % 2 == 0)
        self._outgoing.put(None)
        self.is_started.set()


async def play_all(
    target: str, seeds: Sequence[int], speech: Sequence[bytes], *, at_once: int
) -> dict[int, tuple[History, list[Violation]]]:
    """Play histories, each with its twin in peace; return them with what is wrong."""
    found: dict[int, tuple[History, list[Violation]]] = {}
    left = iter(seeds)

    async def work() -> None:
        for seed in left:
            script, trouble = draw(seed, speech=speech)
            twin = await play(partial(WireCall, target), undisturbed(script), Trouble(), seed)
            history = await play(partial(WireCall, target), script, trouble, seed)
            history.twin = tuple(told.essence for told in twin.told("final", "event", "updated"))
            found[seed] = history, [*check(history), *check(twin)]

    await asyncio.gather(*(work() for _ in range(at_once)))
    return found

"""Plays scripts against the service itself, in this process, and records what is observed."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

from google.rpc import error_details_pb2, status_pb2
from siren.v1 import speech_pb2 as pb

from siren_grpc.server.service import SpeechService
from tests.support.history.generate import Trouble, to_request
from tests.support.history.record import (
    Begun,
    Ended,
    History,
    Left,
    Script,
    Sent,
    Told,
    to_told,
)

_FULL_S = 0.02
_WAIT_S = 60.0


class Aborted(Exception):
    """The service ended a call with a status."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Context:
    """The part of gRPC's context that the service uses."""

    def __init__(self) -> None:
        self._on_done: list[Callable[[Any], object]] = []

    def peer(self) -> str:
        return "history"

    def invocation_metadata(self) -> tuple[()]:
        return ()

    def add_done_callback(self, call: Callable[[Any], object]) -> None:
        self._on_done.append(call)

    def be_done(self) -> None:
        for call in self._on_done:
            call(self)

    async def abort_with_status(self, status: Any) -> None:
        info = error_details_pb2.ErrorInfo()
        packed = dict(status.trailing_metadata)["grpc-status-details-bin"]
        for detail in status_pb2.Status.FromString(packed).details:
            if detail.Is(info.DESCRIPTOR):
                detail.Unpack(info)
        raise Aborted(info.reason)

    def set_trailing_metadata(self, metadata: Any) -> None:
        pass


class Call:
    """One call: what was sent waits to be read, what was told may be lost on its way."""

    def __init__(
        self,
        service: SpeechService,
        history: History,
        number: int,
        first: pb.StreamingRecognizeRequest,
        *,
        latency_s: float = 0.0,
        delay: Callable[[], float] | None = None,
    ) -> None:
        self._history = history
        self.number = number
        self._requests: asyncio.Queue[pb.StreamingRecognizeRequest | None] = asyncio.Queue()
        self._requests.put_nowait(first)
        self._latency_s = latency_s
        self._delay = delay
        self._is_cut = False
        self.is_started = asyncio.Event()
        """`started` was read, or none will come."""
        self.started: Told | None = None
        self.last_number = 0
        self.reason: str | None = None
        self.task = asyncio.create_task(self._run(service))

    async def _read(self) -> AsyncIterator[pb.StreamingRecognizeRequest]:
        while (request := await self._requests.get()) is not None:
            yield request

    async def _run(self, service: SpeechService) -> None:
        context = Context()
        try:
            await self._answer(service, context)
        finally:
            context.be_done()
            self._requests.put_nowait(None)  # gRPC ends a read with its call

    async def _answer(self, service: SpeechService, context: Context) -> None:
        reason = "OK"
        try:
            async for response in service.StreamingRecognize(self._read(), context):  # type: ignore[arg-type]
                if self._is_cut:
                    # gRPC writes nothing to a call that is gone. That it was cancelled may have
                    # been missed: asyncio.wait_for swallows it at the moment of a message.
                    raise asyncio.CancelledError
                self._arrive(self._tell, to_told(self.number, response))
                if self._delay is not None:
                    await asyncio.sleep(self._delay())
        except Aborted as error:
            reason = error.reason
        arrived = asyncio.Event()
        self._arrive(self._end, reason)
        self._arrive(lambda _: arrived.set(), "")
        await arrived.wait()

    def _arrive(self, act: Callable[[Any], None], what: object) -> None:
        """Let something reach the client, now or after its time on the way; in order."""
        if self._latency_s:
            asyncio.get_running_loop().call_later(self._latency_s, act, what)
        else:
            act(what)

    def _end(self, reason: str) -> None:
        if not self._is_cut:
            self.reason = reason
            self._history.records.append(Ended(self.number, reason))
        self.is_started.set()

    def _tell(self, told: Told) -> None:
        if self._is_cut:
            return
        if told.kind == "started":
            self.started = told
            self.is_started.set()
        self.last_number = told.number or self.last_number
        self._history.records.append(told)

    def send(self, request: pb.StreamingRecognizeRequest | None) -> None:
        """Put a request on its way; None half-closes."""
        self._requests.put_nowait(request)

    async def cut(self, *, says_end: bool = False) -> None:
        """Lose the call. says_end: the server is told first that no request follows."""
        self._is_cut = True
        self._history.records.append(Left(self.number))
        if says_end:
            self._requests.put_nowait(None)
            await asyncio.sleep(0)
        self.task.cancel()
        self.is_started.set()


OpenCall = Callable[..., Call]
"""Makes a call: takes what `Call` does behind the service."""


async def play(
    open_call: SpeechService | OpenCall, script: Script, trouble: Trouble, seed: int
) -> History:
    """Play a script with its trouble; return what was observed."""
    if isinstance(open_call, SpeechService):
        open_call = partial(Call, open_call)
    rng = random.Random(seed)
    history = History(script)
    player = _Player(open_call, history, trouble, rng)
    await asyncio.wait_for(player.play(), _WAIT_S)
    return history


class _Player:
    """The client of one history."""

    def __init__(
        self, open_call: OpenCall, history: History, trouble: Trouble, rng: random.Random
    ) -> None:
        self._open_call = open_call
        self._history = history
        self._script = history.script
        self._trouble = trouble
        self._rng = rng
        self._token = ""
        self._last_number = 0
        self._n_calls = 0
        self._breaks = list(trouble.breaks)

    async def play(self) -> None:
        while True:
            call = self._open()
            op = await self._where_to_begin(call)
            if op is None:
                if self._is_refused(call):
                    await asyncio.sleep(_FULL_S * self._rng.random())
                    continue
                return
            is_over = await self._send(call, op)
            if not is_over:
                continue
            await asyncio.wait([call.task])
            return

    def _open(self) -> Call:
        number = self._n_calls
        self._n_calls += 1
        if self._token:
            resume = pb.Resume(token=self._token, last_result=self._last_number)
            first = pb.StreamingRecognizeRequest(resume=resume)
        else:
            config = pb.StreamingConfig.FromString(self._script.config)
            first = pb.StreamingRecognizeRequest(config=config)
        last = self._last_number if self._token else None
        self._history.records.append(Begun(number, last))
        return self._open_call(
            self._history,
            number,
            first,
            latency_s=self._trouble.latency_s,
            delay=(lambda: 0.003 * self._rng.random()) if self._trouble.is_slow else None,
        )

    async def _where_to_begin(self, call: Call) -> int | None:
        """Return the first request to send; None for a call that was refused."""
        if not self._token:
            if self._rng.random() < 0.5:
                return 0  # audio behind the config, without a wait for the answer
            await call.is_started.wait()
            return None if call.reason is not None else 0
        await call.is_started.wait()
        return None if call.started is None else call.started.value

    def _is_refused(self, call: Call) -> bool:
        return call.reason == "OVERLOADED"

    async def _send(self, call: Call, first: int) -> bool:
        """Send from a request on; return False for a call that is to be followed by another."""
        ops = self._script.ops
        for op in range(first, len(ops) + 1):
            if self._trouble.cancels == op:
                await self._cancel(call)
                return True
            if self._breaks and self._breaks[0] <= op:
                self._breaks.pop(0)
                return await self._break(call)
            if call.reason is not None:
                break
            self._history.records.append(Sent(call.number, op))
            call.send(to_request(ops[op]) if op < len(ops) else None)
            await self._pause()
        if self._trouble.cancels is not None and self._trouble.cancels > len(ops):
            await self._cancel(call)
            return True
        if self._breaks:
            self._breaks.pop(0)
            await self._pause()
            return await self._break(call)
        await asyncio.wait([call.task])
        return not (call.reason == "OVERLOADED" and call.started is None)

    async def _pause(self) -> None:
        kind = self._rng.random()
        if kind < 0.3:
            await asyncio.sleep(0)
        elif kind < 0.4:
            await asyncio.sleep(0.004 * self._rng.random())

    async def _break(self, call: Call) -> bool:
        """Lose the call. Return True when there is nothing to be resumed for."""
        if call.reason is not None:
            return not (call.reason == "OVERLOADED" and call.started is None)
        await call.cut(says_end=self._rng.random() < 0.3)
        if call.started is not None:
            self._token = call.started.token
            self._last_number = call.last_number or self._last_number
            if not self._token:
                return True
        if self._rng.random() < 0.5:
            await asyncio.sleep(0.01 * self._rng.random())
        return False

    async def _cancel(self, call: Call) -> None:
        if call.reason is not None:
            return
        await call.cut()
        if self._trouble.is_discarded and call.started is not None and call.started.token:
            resume = pb.Resume(token=call.started.token, discard=True)
            farewell = History(self._script)
            last = self._open_call(farewell, 0, pb.StreamingRecognizeRequest(resume=resume))
            await asyncio.wait([last.task])

"""Runs the sessions of a churn, and holds what they are told against what they must be told."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import grpc
import grpc.aio
from siren.v1 import speech_pb2 as pb
from siren.v1 import speech_pb2_grpc

from siren_grpc.soak.session_plan import Kind, SessionPlan, pieces

_TIMEOUT_S = 120.0
_FULL_S = 0.2
_MAX_TRIES = 100
_MAX_FAULTS = 20
_FINALIZE = pb.StreamingRecognizeRequest(control=pb.Control(action=pb.Control.ACTION_FINALIZE))
_END = pb.StreamingRecognizeRequest(control=pb.Control(action=pb.Control.ACTION_END))
_REFUSED = pb.StreamingConfig(sample_rate_hertz=7)


class ChurnClient:
    """The client of a churn. Belongs to one event loop."""

    def __init__(self, target: str, clips: Sequence[bytes], *, n_connections: int) -> None:
        """Connect. clips: 16 kHz PCM."""
        self._target = target
        self._clips = clips
        self._channels = [self._connect() for _ in range(n_connections)]
        self._turn = 0
        self._heard: dict[tuple[Kind, tuple[int, ...]], tuple[str, ...]] = {}
        self.outcomes: Counter[str] = Counter()
        self.n_refused_full = 0
        """Openings that were answered OVERLOADED, and tried again."""
        self.faults: list[str] = []
        """What must not happen, in words; the first few."""
        self.n_faults = 0

    def _connect(self) -> grpc.aio.Channel:
        # Channels of the same options share a connection unless they have a pool of their own.
        options = (("grpc.use_local_subchannel_pool", 1),)
        return grpc.aio.insecure_channel(self._target, options=options)

    async def reconnect_one(self) -> None:
        """Close one connection after the other, a call of this each, and make a new one."""
        self._turn = (self._turn + 1) % len(self._channels)
        await self._channels[self._turn].close()
        self._channels[self._turn] = self._connect()

    async def close(self) -> None:
        """Close all connections."""
        for channel in self._channels:
            await channel.close()

    async def run(self, plan: SessionPlan, number: int) -> None:
        """Run one session to its end; opened again while the server is full."""
        channel = self._channels[number % len(self._channels)]
        stub = speech_pb2_grpc.SpeechServiceStub(channel)
        for _ in range(_MAX_TRIES):
            try:
                outcome = await self._run_once(stub, plan)
                break
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
                    self._fault(f"{plan.kind.value}: {error.code().name} {error.details()}")
                    outcome = "failed"
                    break
                self.n_refused_full += 1
                await asyncio.sleep(_FULL_S)
        else:
            self._fault(f"{plan.kind.value}: the server stays full")
            outcome = "failed"
        self.outcomes[outcome] += 1

    def _fault(self, text: str) -> None:
        self.n_faults += 1
        if len(self.faults) < _MAX_FAULTS:
            self.faults.append(text)

    async def _run_once(self, stub: speech_pb2_grpc.SpeechServiceStub, plan: SessionPlan) -> str:
        if plan.kind is Kind.RECORDING:
            request = pb.RecognizeRequest(audio=self._clips[plan.clips[0]])
            answer: pb.RecognizeResponse = await stub.Recognize(request, timeout=_TIMEOUT_S)  # type: ignore[misc]
            self._compare(plan, [final.text for final in answer.results])
        elif plan.kind is Kind.REFUSED:
            await self._be_refused(stub)
        elif plan.kind in (Kind.CANCELLED, Kind.LEFT):
            await self._cancel(stub, plan)
        else:
            await self._stream(stub, plan)
        return plan.kind.value

    async def _stream(self, stub: speech_pb2_grpc.SpeechServiceStub, plan: SessionPlan) -> None:
        call = _open(stub)
        await call.write(self._config(plan))
        # grpc.aio forgets the status of a call that is refused while it writes: so it reads first.
        first = await call.read()
        responses = [] if first is grpc.aio.EOF else [first]
        try:
            for i, clip in enumerate(plan.clips):
                if i:
                    await call.write(_FINALIZE)
                await self._send(call, self._clips[clip], plan)
            if plan.kind is Kind.ENDED:
                await call.write(_END)
            else:
                await call.done_writing()
        except asyncio.InvalidStateError:
            pass  # it is over already: the status says why
        while (response := await call.read()) is not grpc.aio.EOF:
            responses.append(response)
        await self._raise_for_status(call)
        kinds = [response.WhichOneof("response") for response in responses]
        if kinds.count("started") != 1 or kinds[0] != "started" or kinds[-1] != "final":
            self._fault(f"{plan.kind.value}: answers {kinds}")
        self._compare(plan, [r.final.text for r in responses if r.HasField("final")])

    async def _send(self, call: Any, data: bytes, plan: SessionPlan) -> None:
        for piece in pieces(data, plan.pieces):
            await call.write(pb.StreamingRecognizeRequest(audio=pb.AudioChunk(data=piece)))

    @staticmethod
    def _config(plan: SessionPlan) -> pb.StreamingRecognizeRequest:
        is_resumable = plan.kind in (Kind.RESUMABLE, Kind.LEFT)
        return pb.StreamingRecognizeRequest(config=pb.StreamingConfig(resumable=is_resumable))

    async def _cancel(self, stub: speech_pb2_grpc.SpeechServiceStub, plan: SessionPlan) -> None:
        call = _open(stub)
        data = b"".join(self._clips[clip] for clip in plan.clips)[: plan.cut]
        await call.write(self._config(plan))
        # Half of them once it runs: the others may be cancelled before it has a slot.
        if plan.cut % 2 and await call.read() is grpc.aio.EOF:
            await self._raise_for_status(call)
            self._fault(f"{plan.kind.value}: ended before it was cancelled")
        # One that was refused meanwhile is over, too.
        with suppress(asyncio.InvalidStateError, grpc.aio.AioRpcError):
            await self._send(call, data, plan)
        call.cancel()

    @staticmethod
    async def _raise_for_status(call: Any) -> None:
        code = await call.code()
        if code is not grpc.StatusCode.OK:
            metadata = grpc.aio.Metadata()
            raise grpc.aio.AioRpcError(code, metadata, metadata, await call.details())

    async def _be_refused(self, stub: speech_pb2_grpc.SpeechServiceStub) -> None:
        call = _open(stub)
        await call.write(pb.StreamingRecognizeRequest(config=_REFUSED))
        code = await call.code()
        if code is not grpc.StatusCode.INVALID_ARGUMENT:
            self._fault(f"refused: {code.name}")

    def _compare(self, plan: SessionPlan, texts: list[str]) -> None:
        """Hold the finals against those the same audio had before: promises 3 and 4."""
        told = tuple(texts)
        if len(told) != len(plan.clips):
            self._fault(f"{plan.kind.value}: {len(told)} finals of {len(plan.clips)} utterances")
        key = (Kind.HALF_CLOSED, plan.clips)  # however it ends, it reads the same
        known = self._heard.setdefault(key, told)
        if told != known:
            self._fault(f"{plan.kind.value} of clips {plan.clips}: {told}, before {known}")


def _open(stub: speech_pb2_grpc.SpeechServiceStub) -> Any:
    opening: Any = stub.StreamingRecognize  # the stubs know no call without an iterator
    return opening(timeout=_TIMEOUT_S)

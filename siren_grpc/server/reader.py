"""The requests of one stream, call after call, on their way to the engine."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterable, Sequence
from typing import TypeVar

from siren.v1 import speech_pb2 as pb

from siren_grpc.domain.endpointing import FinalCause
from siren_grpc.domain.errors import (
    AuthFailed,
    InternalError,
    InvalidConfig,
    InvalidMessage,
    QuotaExceeded,
    ShuttingDown,
    SirenError,
)
from siren_grpc.domain.work import EndStream, Feed
from siren_grpc.server.attachment import Attachment
from siren_grpc.server.biasing import to_phrases
from siren_grpc.server.options import to_updated_options
from siren_grpc.server.resumption import Resumption
from siren_grpc.server.stream_parts import StreamParts
from siren_grpc.server.violations import Violations

_T = TypeVar("_T")
_log = logging.getLogger(__name__)
_END_LINGER_S = 0.2
_BREAK_S = 0.5
"""How long after the last message of a call it may turn out to be broken, not half-closed."""
_INTERNAL = "the stream failed unexpectedly; the cause is in the server's log under the session id"


class RequestReader:
    """Feeds the engine with what a stream's client sends, in a task for each of its calls.

    Two calls of a stream never feed it at once: the task of the later one waits for the other's.
    """

    def __init__(self, parts: StreamParts, resumption: Resumption | None) -> None:
        """Start behind the config. resumption: counts the requests; None for one call only."""
        self._parts = parts
        self._resumption = resumption
        self._options = parts.config.options
        self._interruption: SirenError | None = None
        self._attached: Attachment | None = None
        self._task: asyncio.Task[None] | None = None
        """What feeds the engine, or has."""

    @property
    def interruption(self) -> SirenError | None:
        """What the stream was ended with from outside, if it was."""
        return self._interruption

    def start(self, attached: Attachment) -> None:
        """Read the requests of a call from now on."""
        self._attached = attached
        reading = self._read(attached, self._task)
        self._task = attached.reader = self._start(reading)

    def _start(self, work: Coroutine[None, None, _T]) -> asyncio.Task[_T]:
        return asyncio.create_task(work, name=f"read-{self._parts.id.session}")

    def stop(self) -> bool:
        """Read no more of the call; return whether its reader did nothing but wait.

        What is being submitted is submitted: no request takes half an effect.
        """
        attached, self._attached = self._attached, None
        if attached is None or not attached.leave_reader():
            return False
        self._task = None
        return True

    def interrupt(self, error: SirenError) -> None:
        """Read no more, and end the stream with an error. Without a call, its next one ends so."""
        self._interruption = self._interruption or error
        if self.stop():
            self._task = self._start(self._submit_interrupted())

    def cancel(self) -> None:
        """Feed the engine no more: the session is closed."""
        self.stop()
        if self._task is not None:
            self._task.cancel()

    async def _read(self, attached: Attachment, previous: asyncio.Task[None] | None) -> None:
        """Feed the engine until the stream ends; how it ends travels in-band, behind its audio.

        previous: the task of the call before, which may still submit what it had read.
        """
        submit = self._parts.submit
        try:
            if previous is not None:
                await _finish(previous)
            await self._read_requests(attached)
        except SirenError as error:
            await submit([EndStream(error)])
        except Exception:
            _log.exception("session %s: reading failed", self._parts.id)
            await submit([EndStream(InternalError(_INTERNAL))])

    async def _read_requests(self, attached: Attachment) -> None:
        ingress, submit = self._parts.ingress, self._parts.submit
        while not attached.is_detached.is_set():
            if self._interruption is not None:
                await self._submit_interrupted()
                return
            if ingress.is_ended:
                return
            request = await self._next_request(attached)
            if attached.is_left:
                return
            if request is None:
                if await self._is_broken(attached):
                    return
                await submit(ingress.end())
            elif request.control.action == pb.Control.ACTION_END:
                await self._end(attached, ingress.end())
            elif request.HasField("update"):
                await self._update(request.update)
            else:
                # A message may hold hours: of one that is interrupted the rest is not heard.
                pieces = self._receive(request)
                await self._parts.submit_pieces(pieces, lambda: self._interruption is None)

    async def _is_broken(self, attached: Attachment) -> bool:
        """Wait until it is clear whether a call without another message is broken or half-closed.

        gRPC says first that there is no other message, and then why.
        """
        if self._resumption is None:
            return False
        try:
            await asyncio.wait_for(attached.is_detached.wait(), _BREAK_S)
        except asyncio.TimeoutError:
            return False
        return True

    async def _end(self, attached: Attachment, work: Sequence[Feed]) -> None:
        """Answer ACTION_END at once; the status waits a moment for what must not follow it."""
        *results, end = work
        await self._parts.submit(results)
        attached.last_read = self._start(_read_one(attached))
        await asyncio.wait([attached.last_read], timeout=_END_LINGER_S)
        if attached.last_read.done() and attached.last_read.result() is not None:
            raise InvalidMessage("a message after ACTION_END; open a new stream to send more")
        await self._parts.submit([end])

    async def _update(self, update: pb.ConfigUpdate) -> None:
        """Apply an update behind the audio before it, or all of it not at all."""
        parts = self._parts
        info, n_phrases = parts.session.info, self._options.n_phrases
        try:
            faults = Violations()
            phrases = None
            with faults:
                if update.HasField("biasing"):
                    phrases = to_phrases(update.biasing, info, parts.config.lane.decoder)
                    n_phrases = len(phrases)
            with faults:
                options = to_updated_options(update, self._options, info, n_phrases=n_phrases)
            faults.raise_any()
            if phrases is not None:
                await parts.session.set_phrases(phrases)
        except InvalidConfig as error:
            raise error.in_update() from None
        self._options = options
        await parts.submit(parts.ingress.reconfigure(options))

    async def _submit_interrupted(self) -> None:
        """Submit the work of a stream ended from outside: what was heard is owed its final."""
        await self._parts.submit(self._interrupted())

    def _interrupted(self) -> Sequence[Feed]:
        error = self._interruption
        is_owed = not self._parts.ingress.is_ended
        if isinstance(error, ShuttingDown) and is_owed:
            return [*self._parts.ingress.finalize(FinalCause.SHUTDOWN), EndStream(error)]
        if isinstance(error, (QuotaExceeded, AuthFailed)) and is_owed:
            return [*self._parts.ingress.finalize(FinalCause.SESSION_LIMIT), EndStream(error)]
        return [EndStream(error)]

    async def _next_request(self, attached: Attachment) -> pb.StreamingRecognizeRequest | None:
        """Return the client's next message, None when there is no other in this call."""
        attached.waiting_since = asyncio.get_running_loop().time()
        try:
            request = await _read_one(attached)
        finally:
            attached.waiting_since = None
        if not (request is None or attached.is_left or self._resumption is None):
            self._resumption.count_request()
        return request

    def _receive(self, request: pb.StreamingRecognizeRequest) -> Iterable[Sequence[Feed]]:
        ingress = self._parts.ingress
        kind = request.WhichOneof("request")
        if kind == "audio":
            return ingress.audio_pieces(request.audio.data, request.audio.seq)
        if kind == "control":
            return [self._control(request.control.action)]
        if kind in ("config", "resume"):
            raise InvalidMessage(f"a second {kind}; only the first message of a call is one")
        raise InvalidMessage("a message without audio, control or update; set one of them")

    def _control(self, action: int) -> Sequence[Feed]:
        ingress = self._parts.ingress
        if action == pb.Control.ACTION_FINALIZE:
            return ingress.finalize()
        if action == pb.Control.ACTION_RESET:
            return ingress.reset()
        raise InvalidMessage(
            f"control.action {action} is unknown; use ACTION_FINALIZE, ACTION_RESET or ACTION_END"
        )


async def _read_one(attached: Attachment) -> pb.StreamingRecognizeRequest | None:
    """Return a call's next message; None when there is no other, or the call is over."""
    try:
        return await anext(attached.requests, None)
    except Exception:
        if attached.is_over:
            return None
        raise


async def _finish(task: asyncio.Task[None]) -> None:
    """Wait for a task, and take it along when cancelled: nobody else would end it."""
    try:
        await asyncio.wait([task])
    except asyncio.CancelledError:
        task.cancel()
        raise

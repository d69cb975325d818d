"""One `StreamingRecognize` call: a reading task, and the results as they come."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence

from siren.v1 import speech_pb2 as pb

from siren_grpc.domain.endpointing import FinalCause
from siren_grpc.domain.errors import (
    AuthFailed,
    IdleTimeout,
    InternalError,
    InvalidConfig,
    InvalidMessage,
    QuotaExceeded,
    ShuttingDown,
    SirenError,
)
from siren_grpc.domain.principal import Principal
from siren_grpc.domain.types import EndStream, Feed, SpeechEvent, SpeechEventKind, StreamEnded
from siren_grpc.engine.session import EngineSession
from siren_grpc.server import convert
from siren_grpc.server.attachment import Attachment
from siren_grpc.server.biasing import to_phrases
from siren_grpc.server.cut_short import CutShort
from siren_grpc.server.idle import watch_idle
from siren_grpc.server.options import to_updated_options
from siren_grpc.server.parking import Parking
from siren_grpc.server.resumption import Resumption
from siren_grpc.server.stream_call import StreamCall

_log = logging.getLogger(__name__)
_END_LINGER_S = 0.2
_BREAK_S = 0.5
"""How long after the last message of a call it may turn out to be broken, not half-closed."""
_INTERNAL = "the stream failed unexpectedly; the cause is in the server's log under the session id"


class Stream:
    """Runs one stream: its call or, if it can be resumed, one call after the other.

    When a call ends, so does its reading task; the session is closed then, or parked.
    """

    def __init__(
        self, call: StreamCall, started: pb.StreamStarted, parking: Parking[Stream]
    ) -> None:
        """Take over a stream behind its config; `results` runs it.

        started: its answer. parking: keeps the stream when its call breaks, if it has a token.
        """
        self._call = call
        self._started = started
        self._parking = parking
        self._options = call.config.options
        self._interruption: SirenError | None = None
        self._cut_short = CutShort()
        self._attached: Attachment | None = None
        self._last_reader: asyncio.Task[None] | None = None
        self._settling: asyncio.Task[None] | None = None
        self._ended: StreamEnded | None = None
        call.session.on_notice = self.interrupt
        self._resumption: Resumption | None = None
        if started.resume_token:
            self._resumption = Resumption(started)
            parking.enter(started.resume_token, self)

    @property
    def call(self) -> StreamCall:
        """The stream's parts."""
        return self._call

    @property
    def _outcome(self) -> str | None:
        """What the stream ended with, as the metrics call it; None when its client left."""
        if self._ended is None:
            return None
        return "OK" if self._ended.error is None else self._ended.error.reason.value

    @property
    def holds_session(self) -> bool:
        """Whether it still has a slot."""
        session = self._call.session
        return isinstance(session, EngineSession) and not session.is_closed

    @property
    def principal(self) -> Principal:
        """Whose it is."""
        return self._call.id.principal

    def interrupt(self, error: SirenError) -> None:
        """End the stream from outside: no more is read, and it ends with this error."""
        self._interruption = self._interruption or error
        # A reader that is submitting goes on to the end of what it has read: no audio is skipped.
        if self._attached is not None:
            self._attached.stop_reading()

    def announce_draining(self, grace_s: float) -> None:
        """Tell the client that the server is going to stop, and how long the stream may go on.

        A stream that has been given its end will have it soon: its last final stays its last word.
        """
        call = self._call
        if call.ingress.is_ended:
            return
        at = call.ingress.received_samples
        call.session.tell(SpeechEvent(SpeechEventKind.SERVER_DRAINING, at, grace_s))

    def close(self) -> None:
        """Give a stream without a call up, and its slot back."""
        self._call.session.close()
        self._call.record.end(
            self._outcome, self._call.ingress.received_samples, self._call.reception.hertz
        )
        for task in (self._last_reader, self._settling):
            if task is not None:
                task.cancel()

    def abandon(self) -> None:
        """End a resumable stream, call and all: its client wants no more of it."""
        if self._resumption is None:
            raise AssertionError("only a stream with a token is abandoned by it")
        self._end_call()
        self._parking.give_up(self._resumption.token)

    async def results(
        self,
        requests: AsyncIterator[pb.StreamingRecognizeRequest],
        *,
        last_result: int | None = None,
    ) -> AsyncGenerator[pb.StreamingRecognizeResponse, None]:
        """Run a call: yield `started` and the responses behind it.

        last_result: of a stream that is resumed, the last its client got; the call it has at
        present, if any, ends. Raises the SirenError the stream ended with, after everything
        earned before it, and InvalidConfig when the results missed are not kept.
        """
        greeting = [pb.StreamingRecognizeResponse(started=self._started)]
        if self._resumption is not None and last_result is not None:
            greeting = self._resume(self._resumption, last_result)
        attached = self._attach(requests)
        name, clock = f"idle-{self._call.id.session}", asyncio.get_running_loop().time
        watch = asyncio.create_task(self._watch_idle(attached), name=name)
        try:
            attached.sending_since = clock()
            for response in greeting:
                yield response
            attached.sending_since = None
            while self._ended is None:
                result = await self._call.session.take()
                if isinstance(result, StreamEnded):
                    self._ended = result
                    break
                reception = self._call.reception
                for response in self._shown(convert.to_response(result, reception)):
                    attached.sending_since = clock()
                    yield response
                    attached.sending_since = None
                self._call.record.note(result, self._call.session, reception.now)
            if self._ended.error is not None:
                raise self._ended.error
        except asyncio.CancelledError:
            if self._attached is attached:
                raise
            raise InvalidMessage("the stream goes on in another call, which resumed it") from None
        finally:
            watch.cancel()
            self._leave(attached)
            tasks = [watch] if self._resumption is not None else [watch, attached.reader]
            await asyncio.gather(*filter(None, tasks), return_exceptions=True)

    def _shown(
        self, response: pb.StreamingRecognizeResponse
    ) -> Sequence[pb.StreamingRecognizeResponse]:
        """Return what goes to the client now that there is a response."""
        if self._resumption is None:
            return (response,)
        is_cut_short = isinstance(self._interruption, ShuttingDown)
        shown = self._cut_short.passed_on(response) if is_cut_short else (response,)
        for each in shown:
            self._resumption.number(each)
        return shown

    def _resume(
        self, resumption: Resumption, last_result: int
    ) -> list[pb.StreamingRecognizeResponse]:
        self._end_call()
        if self._settling is not None:
            self._settling.cancel()
        try:
            return resumption.greet_again(last_result)
        except SirenError:
            self._parking.give_up(resumption.token)
            raise

    def _end_call(self) -> None:
        """End the call there is, if any: the client knows before the server that it broke."""
        attached = self._attached
        if attached is not None:
            self._detach(attached, is_parked=False)
            if attached.handler is not None:
                attached.handler.cancel()

    def _attach(self, requests: AsyncIterator[pb.StreamingRecognizeRequest]) -> Attachment:
        attached = Attachment(requests, asyncio.current_task())
        self._attached = attached
        if attached.handler is not None:
            # gRPC may leave the generator of a call that broke to be collected, whenever.
            attached.handler.add_done_callback(lambda _: self._leave(attached))
        if self._ended is None:
            reading = self._read(attached, self._last_reader)
            attached.reader = asyncio.create_task(reading, name=f"read-{self._call.id.session}")
            self._last_reader = attached.reader
        return attached

    def _leave(self, attached: Attachment) -> None:
        """Detach a call that is over, unless that is done."""
        if self._attached is attached:
            self._detach(attached)

    def _detach(self, attached: Attachment, *, is_parked: bool = True) -> None:
        """End the stream with its call, or keep it for another."""
        self._attached = None
        attached.is_detached.set()
        if self._resumption is None:
            self.close()
            return
        attached.stop_reading()
        if self._ended is not None:
            self.close()  # its last results may have been lost on their way: they are kept
        elif is_parked:
            name = f"settle-{self._call.id.session}"
            self._settling = asyncio.create_task(self._settle(), name=name)
        if is_parked:
            self._parking.park(self._resumption.token)

    async def _settle(self) -> None:
        """Give the slot of a stream back that has come to its end without a call."""
        session = self._call.session
        if isinstance(session, EngineSession):
            await session.wait_over()
            session.close()

    async def _watch_idle(self, attached: Attachment) -> None:
        timeout_s, session = self._call.idle_timeout_s, self._call.session
        error = IdleTimeout(
            f"no message for {timeout_s:g} s; send audio (silence counts) or ACTION_END, or ask "
            "the operator for a larger idle_timeout_s"
        )
        await watch_idle(
            attached,
            timeout_s,
            is_unread=lambda: session.is_unread,
            end=lambda: self.interrupt(error),
        )

    async def _read(self, attached: Attachment, previous: asyncio.Task[None] | None) -> None:
        """Feed the engine until the stream ends; how it ends travels in-band, behind its audio.

        previous: the reader of the call before, which may still submit what it had read.
        """
        submit = self._call.submit
        try:
            if previous is not None:
                await _finish(previous)
            await self._read_requests(attached)
        except SirenError as error:
            await submit([EndStream(error)])
        except asyncio.CancelledError:
            if self._interruption is None:
                raise
            await submit(self._interrupted())
        except Exception:
            _log.exception("session %s: reading failed", self._call.id)
            await submit([EndStream(InternalError(_INTERNAL))])

    async def _read_requests(self, attached: Attachment) -> None:
        ingress, submit = self._call.ingress, self._call.submit
        while not (ingress.is_ended or attached.is_detached.is_set()):
            request = await self._next_request(attached)
            if request is None:
                if await self._is_broken(attached):
                    return
                await submit(ingress.end())
            elif request.control.action == pb.Control.ACTION_END:
                await self._end(attached, ingress.end())
            elif request.HasField("update"):
                await self._update(request.update)
            else:
                await self._call.submit_pieces(self._receive(request))
            if self._interruption is not None:
                await submit(self._interrupted())
                return

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
        await self._call.submit(results)
        try:
            late = await asyncio.wait_for(anext(attached.requests, None), _END_LINGER_S)
        except asyncio.TimeoutError:
            late = None
        if late is not None:
            raise InvalidMessage("a message after ACTION_END; open a new stream to send more")
        await self._call.submit([end])

    async def _update(self, update: pb.ConfigUpdate) -> None:
        """Apply an update behind the audio before it, or all of it not at all."""
        call = self._call
        info, n_phrases = call.session.info, self._options.n_phrases
        try:
            phrases = None
            if update.HasField("biasing"):
                phrases = to_phrases(update.biasing, info, call.config.lane.decoder)
                n_phrases = len(phrases)
            options = to_updated_options(update, self._options, info, n_phrases=n_phrases)
            if phrases is not None:
                await call.session.set_phrases(phrases)
        except InvalidConfig as error:
            raise error.in_update() from None
        self._options = options
        await call.submit(call.ingress.reconfigure(options))

    def _interrupted(self) -> Sequence[Feed]:
        """Return the work of a stream ended from outside: what was heard is owed its final."""
        error = self._interruption
        is_owed = not self._call.ingress.is_ended
        if isinstance(error, ShuttingDown) and is_owed:
            return [*self._call.ingress.finalize(FinalCause.SHUTDOWN), EndStream(error)]
        if isinstance(error, (QuotaExceeded, AuthFailed)) and is_owed:
            return [*self._call.ingress.finalize(FinalCause.SESSION_LIMIT), EndStream(error)]
        return [EndStream(error)]

    async def _next_request(self, attached: Attachment) -> pb.StreamingRecognizeRequest | None:
        """Return the client's next message, None when there is no other in this call."""
        attached.waiting_since = asyncio.get_running_loop().time()
        try:
            request = await anext(attached.requests, None)
        finally:
            attached.waiting_since = None
        if request is not None and self._resumption is not None:
            self._resumption.count_request()
        return request

    def _receive(self, request: pb.StreamingRecognizeRequest) -> Iterable[Sequence[Feed]]:
        ingress = self._call.ingress
        kind = request.WhichOneof("request")
        if kind == "audio":
            return ingress.audio_pieces(request.audio.data, request.audio.seq)
        if kind == "control":
            return [self._control(request.control.action)]
        if kind in ("config", "resume"):
            raise InvalidMessage(f"a second {kind}; only the first message of a call is one")
        raise InvalidMessage("a message without audio, control or update; set one of them")

    def _control(self, action: int) -> Sequence[Feed]:
        ingress = self._call.ingress
        if action == pb.Control.ACTION_FINALIZE:
            return ingress.finalize()
        if action == pb.Control.ACTION_RESET:
            return ingress.reset()
        raise InvalidMessage(
            f"control.action {action} is unknown; use ACTION_FINALIZE, ACTION_RESET or ACTION_END"
        )


async def _finish(reader: asyncio.Task[None]) -> None:
    """Wait for a reader, and take it along when cancelled: nobody else would end it."""
    try:
        await asyncio.wait([reader])
    except asyncio.CancelledError:
        reader.cancel()
        raise

"""One stream: its call or calls, and the results as they come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence

from siren.v1 import speech_pb2 as pb

from siren_grpc.domain.errors import (
    IdleTimeout,
    InvalidConfig,
    InvalidMessage,
    ShuttingDown,
    SirenError,
)
from siren_grpc.domain.principal import Principal
from siren_grpc.domain.results import SpeechEvent, SpeechEventKind, StreamEnded
from siren_grpc.engine.session import EngineSession
from siren_grpc.server import convert
from siren_grpc.server.attachment import Attachment
from siren_grpc.server.cut_short import CutShort
from siren_grpc.server.idle import watch_idle
from siren_grpc.server.parking import Parking
from siren_grpc.server.reader import RequestReader
from siren_grpc.server.resumption import Resumption
from siren_grpc.server.stream_parts import StreamParts
from siren_grpc.session.delivery_log import Forgotten


class Stream:
    """Runs one stream: its call or, if it can be resumed, one call after the other.

    When a call ends, so does its reading task; the session is closed then, or parked.
    """

    def __init__(
        self, parts: StreamParts, started: pb.StreamStarted, parking: Parking[Stream]
    ) -> None:
        """Take over a stream behind its config; `results` runs it.

        started: its answer. parking: keeps the stream when its call breaks, if it has a token.
        """
        self._parts = parts
        self._started = started
        self._parking = parking
        self._cut_short = CutShort()
        self._attached: Attachment | None = None
        self._settling: asyncio.Task[None] | None = None
        self._ended: StreamEnded | None = None
        self._resumption: Resumption | None = None
        if started.resume_token:
            self._resumption = Resumption(started)
            parking.enter(started.resume_token, self)
        self._reader = RequestReader(parts, self._resumption)
        parts.session.on_notice = self.interrupt

    @property
    def parts(self) -> StreamParts:
        """The stream's parts."""
        return self._parts

    @property
    def _outcome(self) -> str | None:
        """What the stream ended with, as the metrics call it; None when its client left."""
        if self._ended is None:
            return None
        return "OK" if self._ended.error is None else self._ended.error.reason.value

    @property
    def holds_session(self) -> bool:
        """Whether it still has a slot."""
        session = self._parts.session
        return isinstance(session, EngineSession) and not session.is_closed

    @property
    def principal(self) -> Principal:
        """Whose it is."""
        return self._parts.id.principal

    @property
    def _is_ending(self) -> bool:
        """Whether nothing is read any more: only results are still to come."""
        return self._parts.ingress.is_ended or self._reader.interruption is not None

    def interrupt(self, error: SirenError) -> None:
        """End the stream from outside: no more is read, and it ends with this error."""
        self._reader.interrupt(error)

    def announce_draining(self, grace_s: float) -> None:
        """Tell the client that the server is going to stop, and how long the stream may go on.

        A stream that has been given its end will have it soon: its last final stays its last word.
        """
        parts = self._parts
        if parts.ingress.is_ended:
            return
        at = parts.ingress.received_samples
        parts.session.tell(SpeechEvent(SpeechEventKind.SERVER_DRAINING, at, grace_s))

    def close(self) -> None:
        """Give a stream without a call up, and its slot back."""
        parts = self._parts
        parts.session.close()
        parts.record.end(self._outcome, parts.ingress.received_samples, parts.reception.hertz)
        self._reader.cancel()
        if self._settling is not None:
            self._settling.cancel()

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
        name, clock = f"idle-{self._parts.id.session}", asyncio.get_running_loop().time
        watch = asyncio.create_task(self._watch_idle(attached), name=name)
        try:
            for response in greeting:
                attached.sending_since = clock()
                yield response
                attached.sending_since = None
                self._require(attached)
            while self._ended is None:
                result = await self._parts.session.take()
                if isinstance(result, StreamEnded):
                    self._ended = result
                    break
                reception = self._parts.reception
                for response in self._shown(convert.to_response(result, reception)):
                    attached.sending_since = clock()
                    yield response
                    attached.sending_since = None
                    self._require(attached)
                self._parts.record.note(result, self._parts.session, reception.now)
            if self._ended.error is not None:
                raise self._ended.error
        except asyncio.CancelledError:
            self._require(attached)
            raise
        finally:
            watch.cancel()
            self._leave(attached)
            tasks = [watch]
            if self._resumption is None and attached.reader is not None and not attached.is_left:
                tasks.append(attached.reader)
            await asyncio.gather(*tasks, return_exceptions=True)

    def _require(self, attached: Attachment) -> None:
        """Raise InvalidMessage when a call is not the stream's any more."""
        if self._attached is not attached:
            raise InvalidMessage(
                "the stream goes on in another call, which resumed it, or was given up by one"
            )

    def _shown(
        self, response: pb.StreamingRecognizeResponse
    ) -> Sequence[pb.StreamingRecognizeResponse]:
        """Return what goes to the client now that there is a response."""
        if self._resumption is None:
            return (response,)
        is_cut_short = isinstance(self._reader.interruption, ShuttingDown)
        shown = self._cut_short.passed_on(response) if is_cut_short else (response,)
        for each in shown:
            self._resumption.number(each)
        return shown

    def _resume(
        self, resumption: Resumption, last_result: int
    ) -> list[pb.StreamingRecognizeResponse]:
        try:
            greeting = resumption.greet_again(last_result)
        except Forgotten as error:
            self._end_call()
            self._parking.give_up(resumption.token)
            raise InvalidConfig.of_resume(
                "last_result",
                f"what follows it is not kept here ({error}); open a new stream and send again "
                "what follows the last final",
            ) from None
        except InvalidConfig:
            if self._attached is None:
                self._parking.park(resumption.token)  # for a call that asks for what there is
            raise
        self._end_call()
        if self._settling is not None:
            self._settling.cancel()
        return greeting

    def _end_call(self) -> None:
        """End the call there is, if any: the client knows before the server that it broke."""
        attached = self._attached
        if attached is not None:
            self._detach(attached, is_parked=False)
            attached.end()

    def _attach(self, requests: AsyncIterator[pb.StreamingRecognizeRequest]) -> Attachment:
        attached = Attachment(requests, asyncio.current_task())
        self._attached = attached
        if attached.handler is not None:
            # gRPC may leave the generator of a call that broke to be collected, whenever.
            attached.handler.add_done_callback(lambda _: self._leave(attached))
        if self._ended is None:
            self._reader.start(attached)
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
        self._reader.stop()
        if self._ended is not None:
            self.close()  # its last results may have been lost on their way: they are kept
        elif is_parked:
            name = f"settle-{self._parts.id.session}"
            self._settling = asyncio.create_task(self._settle(), name=name)
        if is_parked:
            self._parking.park(self._resumption.token)

    async def _settle(self) -> None:
        """Give the slot of a stream back that has come to its end without a call."""
        session = self._parts.session
        if isinstance(session, EngineSession):
            await session.wait_over()
            session.close()
        if self._resumption is not None:
            self._parking.settle(self._resumption.token)

    async def _watch_idle(self, attached: Attachment) -> None:
        timeout_s, session = self._parts.idle_timeout_s, self._parts.session
        error = IdleTimeout(
            f"no message for {timeout_s:g} s; send audio (silence counts) or ACTION_END, or ask "
            "the operator for a larger idle_timeout_s"
        )
        await watch_idle(
            attached,
            timeout_s,
            is_stuck=lambda: session.is_unread or self._is_ending,
            end=lambda: self.interrupt(error),
        )

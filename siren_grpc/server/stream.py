"""One `StreamingRecognize` call: a reading task, and the results as they come."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import cast

from siren.v1 import speech_pb2 as pb

from siren_grpc.domain.endpointing import FinalCause
from siren_grpc.domain.errors import (
    IdleTimeout,
    InternalError,
    InvalidConfig,
    InvalidMessage,
    ShuttingDown,
    SirenError,
)
from siren_grpc.domain.types import EndStream, Feed, StreamEnded, Work
from siren_grpc.engine.separate import SeparateSession
from siren_grpc.engine.session import EngineSession
from siren_grpc.server import convert
from siren_grpc.server.biasing import to_phrases
from siren_grpc.server.call_id import CallId
from siren_grpc.server.options import to_updated_options
from siren_grpc.server.request import ValidConfig
from siren_grpc.server.status import Trailers
from siren_grpc.session.ingress import Ingress
from siren_grpc.session.separate import SeparateIngress

_log = logging.getLogger(__name__)
_END_LINGER_S = 0.2
_INTERNAL = "the stream failed unexpectedly; the cause is in the server's log under the session id"


@dataclass(frozen=True, slots=True)
class StreamCall:
    """A stream whose config was accepted."""

    id: CallId
    config: ValidConfig
    ingress: Ingress | SeparateIngress
    session: EngineSession | SeparateSession
    idle_timeout_s: float

    @property
    def reception(self) -> convert.Reception:
        """What a result sent now is to say of the stream."""
        hertz = self.session.info.features.sample_rate_hertz
        return convert.Reception(hertz, self.ingress.received_samples, monotonic())

    @property
    def trailers(self) -> Trailers:
        """Where the stream's time went, for its trailing metadata."""
        timing = self.session.timing
        hertz = self.session.info.features.sample_rate_hertz
        return (
            *self.id.trailers,
            ("siren-audio-ms", str(1000 * self.ingress.received_samples // hertz)),
            ("siren-steps", str(timing.steps)),
            ("siren-queue-ms", str(round(1000 * timing.queue_s))),
            ("siren-step-ms", str(round(1000 * timing.step_s))),
        )

    async def submit(self, work: Sequence[Feed]) -> None:
        """Give the engine work of the ingress, cut anew behind each hard endpoint."""
        if isinstance(self.session, SeparateSession) or isinstance(self.ingress, SeparateIngress):
            await self.session.submit(work)  # type: ignore[arg-type]  # both are separate
            return
        own = cast("Sequence[Work]", work)  # an Ingress makes no work for single channels
        while (rewind := await self.session.submit(own)) is not None:
            own = self.ingress.rewind(rewind.at_samples, rewind.seq, rewind.work)

    async def submit_pieces(self, pieces: Iterable[Sequence[Feed]]) -> None:
        """Submit work as it is made, in turns with other streams."""
        is_first = True
        for work in pieces:
            if not is_first:
                await asyncio.sleep(0)  # nothing else need wait, and so notice a cancellation
            is_first = False
            await self.submit(work)


class Stream:
    """Runs one call. Whatever ends it, the reading task ends and the session is closed."""

    def __init__(
        self, call: StreamCall, requests: AsyncIterator[pb.StreamingRecognizeRequest]
    ) -> None:
        """Take over a call behind its config; `results` runs it."""
        self._call = call
        self._requests = requests
        self._options = call.config.options
        self._interruption: SirenError | None = None
        self._reader: asyncio.Task[None] | None = None
        self._waiting_since: float | None = None
        """When the reader began to wait for the client; None while it does not."""

    def interrupt(self, error: SirenError) -> None:
        """End the stream from outside: no more is read, and it ends with this error."""
        self._interruption = self._interruption or error
        # A reader that is submitting goes on to the end of what it has read: no audio is skipped.
        if self._reader is not None and self._waiting_since is not None:
            self._reader.cancel()

    async def results(self) -> AsyncIterator[pb.StreamingRecognizeResponse]:
        """Yield the responses behind `started`.

        Raises the SirenError the stream ended with, after everything earned before it.
        """
        name = self._call.id.session
        self._reader = asyncio.create_task(self._read(), name=f"read-{name}")
        watch = asyncio.create_task(self._watch_idle(), name=f"idle-{name}")
        try:
            while True:
                result = await self._call.session.take()
                if isinstance(result, StreamEnded):
                    if result.error is not None:
                        raise result.error
                    return
                yield convert.to_response(result, self._call.reception)
        finally:
            self._call.session.close()
            self._reader.cancel()
            watch.cancel()
            await asyncio.gather(self._reader, watch, return_exceptions=True)

    async def _watch_idle(self) -> None:
        loop = asyncio.get_running_loop()
        timeout = self._call.idle_timeout_s
        while True:
            since = self._waiting_since
            idle = 0.0 if since is None else loop.time() - since
            if idle >= timeout:
                break
            await asyncio.sleep(timeout - idle)
        self.interrupt(
            IdleTimeout(
                f"no message for {timeout:g} s; send audio (silence counts) or ACTION_END, or ask "
                "the operator for a larger idle_timeout_s"
            )
        )

    async def _read(self) -> None:
        """Feed the engine until the stream ends; how it ends travels in-band, behind its audio."""
        submit = self._call.submit
        try:
            await self._read_requests()
        except SirenError as error:
            await submit([EndStream(error)])
        except asyncio.CancelledError:
            if self._interruption is None:
                raise
            await submit(self._interrupted())
        except Exception:
            _log.exception("session %s: reading failed", self._call.id)
            await submit([EndStream(InternalError(_INTERNAL))])

    async def _read_requests(self) -> None:
        ingress, submit = self._call.ingress, self._call.submit
        while not ingress.is_ended:
            request = await self._next_request()
            if request is None:
                await submit(ingress.end())
            elif request.control.action == pb.Control.ACTION_END:
                await self._end(ingress.end())
            elif request.HasField("update"):
                await self._update(request.update)
            else:
                await self._call.submit_pieces(self._receive(request))
            if self._interruption is not None:
                await submit(self._interrupted())
                return

    async def _end(self, work: Sequence[Feed]) -> None:
        """Answer ACTION_END at once; the status waits a moment for what must not follow it."""
        *results, end = work
        await self._call.submit(results)
        try:
            late = await asyncio.wait_for(anext(self._requests, None), _END_LINGER_S)
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
        """Return the work of a stream ended from outside: a stopping server owes its final."""
        error = self._interruption
        if isinstance(error, ShuttingDown) and not self._call.ingress.is_ended:
            return [*self._call.ingress.finalize(FinalCause.SHUTDOWN), EndStream(error)]
        return [EndStream(error)]

    async def _next_request(self) -> pb.StreamingRecognizeRequest | None:
        """Return the client's next message, None when it has half-closed the stream."""
        self._waiting_since = asyncio.get_running_loop().time()
        try:
            return await anext(self._requests, None)
        finally:
            self._waiting_since = None

    def _receive(self, request: pb.StreamingRecognizeRequest) -> Iterable[Sequence[Feed]]:
        ingress = self._call.ingress
        kind = request.WhichOneof("request")
        if kind == "audio":
            return ingress.audio_pieces(request.audio.data, request.audio.seq)
        if kind == "control":
            return [self._control(request.control.action)]
        if kind == "config":
            raise InvalidMessage("a second config; only the first message of a stream is a config")
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

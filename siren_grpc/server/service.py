"""`siren.v1.SpeechService`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from time import monotonic
from typing import Any, TypeAlias

import grpc
from siren.v1 import speech_pb2 as pb
from siren.v1 import speech_pb2_grpc

from siren_grpc.domain.errors import (
    AuthFailed,
    IdleTimeout,
    InvalidMessage,
    Overloaded,
    RefusalCause,
    ShuttingDown,
    SirenError,
)
from siren_grpc.domain.principal import ANONYMOUS_CALLER, Caller
from siren_grpc.engine.engine import Engine
from siren_grpc.server import convert
from siren_grpc.server.call_id import CallId
from siren_grpc.server.front_end_tally import FrontEndTally
from siren_grpc.server.load_reports import LoadReports
from siren_grpc.server.names import ModelNames
from siren_grpc.server.next_message import begin_read
from siren_grpc.server.opening import ServiceLimits, open_recognition
from siren_grpc.server.parking import Parking
from siren_grpc.server.recording import requests_of
from siren_grpc.server.request import ValidConfig
from siren_grpc.server.speech_call import SpeechCall, speech_call
from siren_grpc.server.stream import Stream
from siren_grpc.server.stream_parts import StreamParts
from siren_grpc.server.violations import Violations

_log = logging.getLogger(__name__)
_Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"  # generic for mypy only
_LOADING_RETRY_S = 5.0
_SHUTDOWN_RETRY_S = 1.0


class SpeechService(speech_pb2_grpc.SpeechServiceServicer):
    """Answers the three methods with the models of an engine."""

    def __init__(
        self,
        limits: ServiceLimits,
        tally: FrontEndTally,
        loads: LoadReports,
        caller_of: Callable[[_Context], Caller] = lambda context: ANONYMOUS_CALLER,
    ) -> None:
        """Start without models: every call is asked to come back later until `serve`.

        tally: counts calls and streams. loads: what trailers say of the server's load. caller_of:
        says who makes a call.
        """
        self._limits = limits
        self._tally = tally
        self._loads = loads
        self._caller_of = caller_of
        self._engine: Engine | None = None
        self._names = ModelNames()
        self._streams: dict[_Context, Stream] = {}
        """Those with a call, by the call."""
        self._early: set[SpeechCall] = set()
        """Calls whose stream has not begun."""
        self._silent: set[SpeechCall] = set()
        """Of those, who has not said yet what it wants."""
        self._parking: Parking[Stream] = Parking(
            grace_s=limits.resume_grace_s, max_parked=limits.max_parked
        )
        self._all_done = asyncio.Event()
        self._all_done.set()
        self._drains_until: float | None = None
        self._is_drained = False

    @property
    def counts(self) -> dict[str, int]:
        """Streams with a call, and those that can be resumed."""
        return {"streams": len(self._streams), "resumable": self._parking.n_kept}

    def serve(self, engine: Engine, names: ModelNames) -> None:
        """Serve an engine's models from now on, under these names."""
        self._engine, self._names = engine, names

    @property
    def n_parked(self) -> int:
        """Streams of broken calls that are kept."""
        return self._parking.n_parked

    def streams(self) -> list[tuple[Stream, bool]]:
        """Return the streams that hold a session, and of each whether it is parked."""
        # One that is being resumed may have two calls for a moment.
        attached = dict.fromkeys(self._streams.values(), False)
        return [*attached.items(), *((stream, True) for stream in self._parking.parked)]

    @property
    def is_idle(self) -> bool:
        """Whether no stream has a call."""
        return not self._streams

    async def drain(self, *, grace_s: float, hurry: asyncio.Event) -> None:
        """Refuse new streams, let the running ones end, and end those that do not in time.

        grace_s: how long they may take; they are told. hurry: set to cut that short. The streams
        left get their final and SHUTTING_DOWN; they may still be sending it when this returns.
        """
        self._drains_until = monotonic() + grace_s
        self._parking.close()
        for call in self._silent:
            call.dismiss(_shutting_down())
        for stream in self._streams.values():
            stream.announce_draining(grace_s)
        waits = {asyncio.create_task(event.wait()) for event in (self._all_done, hurry)}
        await asyncio.wait(waits, timeout=grace_s, return_when=asyncio.FIRST_COMPLETED)
        for task in waits:
            task.cancel()
        self._is_drained = True
        for stream in self._streams.values():
            stream.interrupt(_shutting_down())

    def revoke(self, names: frozenset[str]) -> None:
        """End the streams of principals that may not have them any more, finals first."""
        error = AuthFailed("the token of this stream is not good any more")
        for stream in self._streams.values():
            if stream.principal.name in names:
                stream.interrupt(error)
        for call in self._early:
            if call.id.principal.name in names:
                call.dismiss(error)

    # The RPC methods are named by the protocol.
    async def StreamingRecognize(
        self,
        request_iterator: AsyncIterator[pb.StreamingRecognizeRequest],
        context: _Context,
    ) -> AsyncIterator[pb.StreamingRecognizeResponse]:
        """Recognise live audio; see the protocol."""
        async with self._call("StreamingRecognize", context) as call:
            self._running_engine()  # who is refused should not have to say first what it wants
            requests = aiter(request_iterator)
            first = await self._first_request(call, requests)
            engine = self._running_engine()
            last_result = None
            if first.WhichOneof("request") == "resume":
                stream = self._parking.claim(first.resume.token, call.id.principal)
                if first.resume.discard:
                    stream.abandon()
                    return
                last_result = first.resume.last_result
                _log.info("session %s: goes on in another call", stream.parts.id)
            else:
                stream = await self._begin(call, first.config, engine, is_live=True)
            with self._attached(call, context, stream):
                # Closed with this call: what becomes of the stream is decided then.
                async with aclosing(stream.results(requests, last_result=last_result)) as results:
                    async for response in results:
                        yield response

    async def Recognize(
        self, request: pb.RecognizeRequest, context: _Context
    ) -> pb.RecognizeResponse:
        """Recognise a complete recording; see the protocol."""
        async with self._call("Recognize", context) as call:
            stream = await self._begin(call, request.config, self._running_engine(), is_live=False)
            with self._attached(call, context, stream):
                async with aclosing(stream.results(requests_of(request.audio))) as responses:
                    answers = [response async for response in responses]
        return pb.RecognizeResponse(
            started=answers[0].started,
            results=[answer.final for answer in answers if answer.HasField("final")],
        )

    async def ListModels(
        self, request: pb.ListModelsRequest, context: _Context
    ) -> pb.ListModelsResponse:
        """List the models in service, the default first."""
        async with self._call("ListModels", context):
            context.set_trailing_metadata(self._loads.trailers)
            infos = () if self._engine is None else self._engine.models
            default = self._names.default
            return pb.ListModelsResponse(
                models=[
                    convert.to_model(
                        info, is_default=info.id == default, aliases=self._names.aliases_of(info.id)
                    )
                    for info in sorted(infos, key=lambda info: info.id != default)
                ]
            )

    async def refuse(self, method: str, context: _Context, error: SirenError) -> None:
        """End a call whose request is none, or never came, as its handler would have ended it.

        method: the name alone. Raises what gRPC aborts a handler with.
        """
        async with self._call(method, context):
            raise error

    @asynccontextmanager
    async def _call(self, method: str, context: _Context) -> AsyncIterator[SpeechCall]:
        call_id = CallId(self._caller_of(context))
        async with speech_call(method, context, call_id, self._tally, self._loads) as call:
            self._early.add(call)
            try:
                yield call
            finally:
                self._early.discard(call)

    def _running_engine(self) -> Engine:
        """Return the engine. Raises ShuttingDown or Overloaded while it takes no new streams."""
        if self._drains_until is not None:
            raise _shutting_down()
        if self._engine is None:
            raise Overloaded(
                "the server is still loading its model; try again in a few seconds "
                "(its health is NOT_SERVING until then)",
                retry_after_s=_LOADING_RETRY_S,
            ).because(RefusalCause.LOADING)
        return self._engine

    async def _begin(
        self, call: SpeechCall, config: pb.StreamingConfig, engine: Engine, *, is_live: bool
    ) -> Stream:
        """Open a new stream. Raises InvalidConfig, and what the engine refuses it with."""
        faults = Violations()
        with faults:
            call.id.take_request(config.request_id)
        with faults:
            valid = self._valid(config, engine)
        faults.raise_any()
        session, ingress = await open_recognition(
            engine, valid, self._limits, call.id.caller, call.record.traceparent, is_live=is_live
        )
        started = convert.to_started(call.id, session.info, valid)
        kind = "started" if is_live else "recording"
        _log.info("session %s: %s, %s", call.id, kind, _line(started))
        # What the channels of a stream with several have sent is not kept.
        can_resume = valid.audio.channels.n_transcripts == 1 and self._parking.keeps_streams
        if is_live and valid.is_resumable and can_resume:
            started.resume_token = self._parking.make_token()
        record = self._tally.begin_stream(session.info.id, is_live=is_live)
        parts = StreamParts(call.id, valid, ingress, session, self._limits.idle_timeout_s, record)
        return Stream(parts, started, self._parking)

    async def _first_request(
        self, call: SpeechCall, requests: AsyncIterator[pb.StreamingRecognizeRequest]
    ) -> pb.StreamingRecognizeRequest:
        """Return a call's first message: a config, or a resume."""
        reading = begin_read(anext(requests, None))
        either: set[asyncio.Future[Any]] = {reading, call.dismissed}
        self._silent.add(call)
        try:
            timeout_s = self._limits.idle_timeout_s
            await asyncio.wait(either, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._silent.discard(call)
        if call.dismissed.done():
            raise call.dismissed.result()
        if not reading.done():
            raise IdleTimeout(
                f"no config came within {timeout_s:g} s; send one as the first message"
            )
        first = reading.result()
        if first is None:
            raise InvalidMessage("the stream ended without a config; send one as first message")
        kind = first.WhichOneof("request")
        if kind not in ("config", "resume"):
            raise InvalidMessage(
                f"the first message must be a config, not {kind or 'an empty message'}; an empty "
                "config is valid and takes the server's defaults"
            )
        return first

    def _valid(self, config: pb.StreamingConfig, engine: Engine) -> ValidConfig:
        models = {info.id: info for info in engine.models}
        return convert.to_config(
            config,
            models[self._names.resolve(config.model, models)],
            server_masks=self._limits.masked_words,
        )

    @contextmanager
    def _attached(self, call: SpeechCall, context: _Context, stream: Stream) -> Iterator[None]:
        """Count a stream among those with a call while the body runs."""
        call.bind(stream)
        self._early.discard(call)
        self._streams[context] = stream
        self._all_done.clear()
        if self._drains_until is not None:  # since this one began
            stream.announce_draining(max(0.0, self._drains_until - monotonic()))
        if call.dismissed.done():
            stream.interrupt(call.dismissed.result())
        if self._is_drained:
            stream.interrupt(_shutting_down())
        try:
            yield
        finally:
            del self._streams[context]
            if not self._streams:
                self._all_done.set()


def _shutting_down() -> ShuttingDown:
    return ShuttingDown(
        "the server is shutting down; open a new stream, to another replica if there is one",
        retry_after_s=_SHUTDOWN_RETRY_S,
    )


def _line(started: pb.StreamStarted) -> str:
    return (
        f"model {started.model}, {pb.AudioEncoding.Name(started.encoding)} "
        f"{started.sample_rate_hertz} Hz, chunk_frames {started.chunk_frames}"
    )

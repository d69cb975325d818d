"""A front end's view of the models: open sessions, and hand them what became of their work."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace as replaced

from siren_grpc.domain.errors import InternalError, ModelNotFound, SirenError
from siren_grpc.domain.model import (
    AUTO_LANGUAGE,
    DEFAULT_MODEL_OPTIONS,
    Lane,
    ModelInfo,
    ModelOptions,
)
from siren_grpc.domain.phrases import Phrases
from siren_grpc.domain.principal import ANONYMOUS_CALLER, Caller
from siren_grpc.domain.results import WordDetail
from siren_grpc.domain.work import StreamOptions
from siren_grpc.engine.messages import Delivery, Message, Open, first_session_id
from siren_grpc.engine.presentation import Normaliser
from siren_grpc.engine.session import EngineLimits, EngineSession
from siren_grpc.observe.instruments import Tally
from siren_grpc.observe.metrics import QUEUE_DELAY, kind_of
from siren_grpc.scheduling.plan import SessionId
from siren_grpc.session.utterance import Utterance
from siren_grpc.text.detokenizer import Detokenizer
from siren_grpc.text.options import TextOptions

_log = logging.getLogger(__name__)
_AS_RECOGNISED = TextOptions()
_DEAD = "the recogniser stopped unexpectedly; the cause is in the server's log"
_BROKEN = "the results could not be put together; the cause is in the server's log"


class Engine:
    """The sessions of one front end. Belongs to one event loop; the models may be elsewhere."""

    def __init__(
        self,
        limits: EngineLimits,
        send: Callable[[Sequence[Message]], None],
        *,
        front_end: int,
        normaliser: Normaliser | None = None,
        tally: Tally | None = None,
    ) -> None:
        """Start without models.

        send: passes messages on to `EngineHost.post`. front_end: its number there. normaliser:
        needed by sessions with a written language. tally: counts how long chunks wait.
        """
        self._tally = tally
        self._normaliser = normaliser
        self._limits = limits
        self._send = send
        self._models: dict[str, ModelInfo] = {}
        self._detokenizers: dict[str, Detokenizer] = {}
        self._sessions: dict[SessionId, EngineSession] = {}
        self._ids = itertools.count(first_session_id(front_end))
        self._dead_with: Callable[[], SirenError] | None = None

    @property
    def models(self) -> tuple[ModelInfo, ...]:
        """The models in service, in the order in which they came."""
        return tuple(self._models.values())

    @property
    def n_sessions(self) -> int:
        """Sessions open now."""
        return len(self._sessions)

    @property
    def counts(self) -> dict[str, float]:
        """Sessions open now, and of these the steps so far and the time those took."""
        timings = [session.timing for session in self._sessions.values()]
        return {
            "sessions": len(self._sessions),
            "steps": sum(timing.steps for timing in timings),
            "step_s": round(sum(timing.step_s for timing in timings), 6),
        }

    def serve(self, models: Sequence[ModelInfo]) -> None:
        """Open sessions of these models from now on, and of no others."""
        self._models = {info.id: info for info in models}
        self._detokenizers = {
            info.key: self._detokenizers.get(info.key)
            or Detokenizer(info.token_texts, info.punctuation)
            for info in models
        }

    async def open(
        self,
        lane: Lane,
        options: StreamOptions | None = None,
        text: TextOptions = _AS_RECOGNISED,
        *,
        model_options: ModelOptions = DEFAULT_MODEL_OPTIONS,
        phrases: Phrases = (),
        is_live: bool = True,
        words: WordDetail = WordDetail.NONE,
        alternatives: int = 0,
        caller: Caller = ANONYMOUS_CALLER,
        traceparent: str = "",
    ) -> EngineSession:
        """Open a session of a lane; one that names no model means the first.

        text: how its text is changed. The first stream of a written language waits for its
        grammar, some seconds, before it takes a slot. phrases: preferred from its start on.
        is_live: False for a recording, which is recognised when no live session has work. words:
        which of its results list their words. alternatives: how many other readings its finals
        list at most. caller: whose quota it counts against. traceparent: the span of its call.

        Raises InvalidConfig for options the model does not have or a phrase it cannot write,
        QuotaExceeded, Overloaded when every slot of the model is taken, memory has run out or the
        steps have fallen behind real time, KeyError for a model that is not in service,
        ModelNotFound for one that just went, and what `die` says when the stepper has died.
        """
        if text.written_language and self._normaliser is not None:
            await self._normaliser.prepare(text.written_language)
        if self._dead_with is not None:
            raise self._dead_with()
        if lane.model and lane.model not in self._models and text.written_language:
            raise ModelNotFound(f"model {lane.model} has just been taken out of service")
        name = lane.model or next(iter(self._models))
        info = self._models[name]
        session_id = next(self._ids)
        options = options or StreamOptions()
        utterance = Utterance(
            self._detokenizers[info.key],
            info.geometry(lane.chunk_frames),
            options,
            end_tokens=info.end_tokens,
            words=words,
            language_code=_known(model_options.language_code or info.language_codes[0]),
            language_tags=info.language_tags,
        )
        queue_delay = None
        if self._tally is not None:
            queue_delay = self._tally.histogram(QUEUE_DELAY, name, kind_of(is_live=is_live))
        session = EngineSession(
            session_id,
            self._send,
            self._limits,
            info,
            utterance,
            options,
            self._forget,
            queue_delay,
        )
        if alternatives:
            session.list_alternatives(alternatives, self._detokenizers[info.key])
        if text != _AS_RECOGNISED:
            session.present(text, self._normaliser)
        self._sessions[session_id] = session
        lane = replaced(lane, model=info.key)
        opening = Open(
            session_id,
            lane,
            options=model_options,
            phrases=phrases,
            is_live=is_live,
            words=words,
            alternatives=alternatives,
            caller=caller,
            traceparent=traceparent,
        )
        self._send([opening])
        try:
            await session.wait_open()
        except BaseException:  # cancelled, too: nobody else would close it
            session.close()
            raise
        return session

    def deliver(self, deliveries: Sequence[Delivery]) -> None:
        """Take what became of sessions' work; those closed meanwhile have no use for it."""
        for delivery in deliveries:
            session = self._sessions.get(delivery.session_id)
            if session is None:
                continue
            try:
                session.receive(delivery.outcome)
            except Exception:
                # Its own stream fails; those behind it in the list have their results to get.
                _log.exception("session %d: its results cannot be told", delivery.session_id)
                session.end(InternalError(_BROKEN))

    def die(self, make_error: Callable[[], SirenError] = lambda: InternalError(_DEAD)) -> None:
        """End all sessions and open no more: the stepper has died, or is as good as dead.

        make_error: makes what streams end with, and are refused with.
        """
        self._dead_with = make_error
        for session in self._sessions.values():
            session.end(make_error())

    def revive(self) -> None:
        """Open sessions again: the stepper is not dead after all."""
        self._dead_with = None

    def _forget(self, session_id: SessionId) -> None:
        self._sessions.pop(session_id, None)


def _known(language_code: str) -> str:
    """Return the language of a stream that asked for it; empty where the model is to find out."""
    return "" if language_code == AUTO_LANGUAGE else language_code

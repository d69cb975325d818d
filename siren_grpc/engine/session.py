"""One stream's end of the engine, for an asyncio caller."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic

from siren_grpc.domain.errors import SirenError
from siren_grpc.domain.model import ModelInfo
from siren_grpc.domain.phrases import Phrases
from siren_grpc.domain.results import Partial, Result, SpeechEvent, StreamEnded
from siren_grpc.domain.work import (
    Chunk,
    DiscardUtterance,
    Reconfigure,
    RestartState,
    StreamOptions,
    UsePhrases,
    Work,
)
from siren_grpc.engine.alternatives import AlternativesStage
from siren_grpc.engine.backlog import Backlog, Timing
from siren_grpc.engine.messages import (
    Close,
    Found,
    Message,
    Notice,
    Opened,
    Outcome,
    Prepare,
    Prepared,
    Push,
    Refused,
    Search,
)
from siren_grpc.engine.presentation import Normaliser, Presentation
from siren_grpc.engine.recognition import Recognition
from siren_grpc.observe.instruments import Histogram
from siren_grpc.scheduling.plan import SessionId
from siren_grpc.session.outbox import Outbox
from siren_grpc.session.utterance import Utterance
from siren_grpc.text.detokenizer import Detokenizer
from siren_grpc.text.options import TextOptions


@dataclass(frozen=True, slots=True)
class EngineLimits:
    """How much may wait for one session.

    max_backlog_s: seconds of audio submitted but not recognised, from which on `submit` waits.
    max_unsent_results: finals and events the client has not read, likewise.
    """

    max_backlog_s: float
    max_unsent_results: int


@dataclass(frozen=True, slots=True)
class Rewind:
    """The audio from a position on is to be cut anew, for a model that starts afresh there.

    seq: what is accounted for there. work: the chunk recognised last, and all that was to follow.
    """

    at_samples: int
    seq: int
    work: tuple[Work, ...]


class EngineSession:
    """Submits work, hands out results, and makes the submitter wait when either piles up.

    The text is built here, from the tokens of each step: the thread that steps the model has
    other things to do, and may be in another process. One task submits and one task takes; both
    in the engine's event loop.
    """

    def __init__(
        self,
        session_id: SessionId,
        send: Callable[[Sequence[Message]], None],
        limits: EngineLimits,
        info: ModelInfo,
        utterance: Utterance,
        options: StreamOptions,
        on_close: Callable[[SessionId], None],
        queue_delay: Histogram | None = None,
    ) -> None:
        """Made by `Engine.open`. queue_delay: counts how long each chunk waits."""
        self._id = session_id
        self._send = send
        self._info = info
        self._max_backlog_samples = int(limits.max_backlog_s * info.features.sample_rate_hertz)
        self._backlog = Backlog(queue_delay)
        self._max_due_finals = limits.max_unsent_results
        self._outbox = Outbox(max_results=limits.max_unsent_results)
        self._has_result = asyncio.Event()
        self._has_room = asyncio.Event()
        self._has_room.set()
        self._is_recognised = asyncio.Event()
        """No chunk is under way."""
        self._is_over = False
        self._over = asyncio.Event()
        self._recognition = Recognition(utterance, options)
        self._on_close = on_close
        self._alternatives: AlternativesStage | None = None
        self._presentation: Presentation | None = None
        self._is_refused = False
        self._opening: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._preparing: asyncio.Future[None] | None = None
        self._is_closed = False
        self.on_notice: Callable[[SirenError], None] = _ignore
        """Called when the stepper wants the session to end, with why."""
        self._partial_heard_at = 0.0

    @property
    def id(self) -> SessionId:
        """Number of the session in the engine's log."""
        return self._id

    @property
    def info(self) -> ModelInfo:
        """The model that recognises the session."""
        return self._info

    @property
    def timing(self) -> Timing:
        """Where the chunks recognised so far spent their time."""
        return self._backlog.timing

    @property
    def partial_heard_at(self) -> float:
        """When the newest audio came that the last partial heard, by `time.monotonic`."""
        return self._partial_heard_at

    @property
    def processed_samples(self) -> int:
        """Audio recognised so far, from the beginning of the stream."""
        return self._backlog.processed_samples

    @property
    def backlog_samples(self) -> int:
        """Audio submitted that is not recognised yet."""
        return self._backlog.n_samples

    @property
    def oldest_chunk_at(self) -> float | None:
        """When the oldest chunk came that is not recognised yet; None when there is none."""
        return self._backlog.oldest_chunk_at

    def present(self, options: TextOptions, normaliser: Normaliser | None) -> None:
        """Change the text of all results that follow; before the first work."""
        self._presentation = Presentation(options, self._deliver, normaliser)

    def list_alternatives(self, most: int, detokenizer: Detokenizer) -> None:
        """List other readings in finals; before the first work."""
        self._alternatives = AlternativesStage(
            most,
            detokenizer,
            lambda span: self._send([Search(self._id, span)]),
            self._pass_on,
        )

    async def wait_open(self) -> None:
        """Return when the session has a slot. Raises what it was refused with."""
        await self._opening

    async def set_phrases(self, phrases: Phrases) -> None:
        """Prefer these phrases, and no others, in what is submitted from now on.

        Called by the task that submits. It returns when they are ready, without a wait for what
        was submitted before. Raises InvalidConfig for a phrase that the model cannot write, or
        Overloaded: the phrases before stay then.
        """
        if phrases:
            self._preparing = asyncio.get_running_loop().create_future()
            self._send([Prepare(self._id, phrases)])
            await self._preparing
        await self.submit([UsePhrases(phrases)])

    async def submit(self, work: Sequence[Work]) -> Rewind | None:
        """Queue work in order, waiting whenever too much is under way or unread.

        While this waits the caller reads nothing more from its client, so that HTTP/2 flow
        control slows the client down. Returns what is to be cut anew behind a hard endpoint, and
        submitted again; None when all was taken, or nobody wants it any more.
        """
        came_at = monotonic()
        for i, item in enumerate(work):
            await self._has_room.wait()
            if self._is_over:
                return None
            if not self._backlog.enter(item, came_at):
                continue
            if isinstance(item, Chunk):
                self._is_recognised.clear()
            elif isinstance(item, Reconfigure):
                self._recognition.configure(item.options)
            self._update_room()
            self._send([Push(self._id, item, monotonic())])
            if isinstance(item, Chunk) and self._recognition.is_hard:
                rewind = await self._rewind(work[i:])
                if rewind is not None:
                    return rewind
        return None

    async def _rewind(self, work: Sequence[Work]) -> Rewind | None:
        """Wait for a chunk's outcome: a hard endpoint decides how the audio behind it is cut."""
        while not (self._is_recognised.is_set() or self._is_over):
            await self._is_recognised.wait()
        at = self._recognition.rewind_to
        if at is None or self._is_over:
            return None
        self._send([Push(self._id, RestartState(at.at_samples), monotonic())])
        return Rewind(at.at_samples, at.seq, tuple(work))

    async def take(self) -> Result:
        """Return the oldest result, waiting for one."""
        while (result := self._outbox.take()) is None:
            self._has_result.clear()
            await self._has_result.wait()
        self._update_room()
        return result

    def tell(self, event: SpeechEvent) -> bool:
        """Put an event that is not of the audio among the results, unless the last is there."""
        if self._over.is_set():
            return False
        self._deliver([event])
        return True

    async def wait_over(self) -> None:
        """Return when the last result is there; it may wait to be taken."""
        await self._over.wait()

    @property
    def is_unread(self) -> bool:
        """Whether no more work is taken until results are."""
        return self._outbox.is_full

    @property
    def is_closed(self) -> bool:
        """Whether the slot was given back; results that are there can still be taken."""
        return self._is_closed

    def close(self) -> None:
        """Drop what is under way and free the slot; closing twice is harmless."""
        if not self._is_closed:
            self._is_closed = True
            if self._presentation is not None:
                self._presentation.close()
            self.on_notice = _ignore  # whoever listens may refer to this
            self._end_recognition()  # who waits for an outcome waits for nothing
            self._update_room()
            self._on_close(self._id)
            if not self._is_refused:
                self._send([Close(self._id)])

    def receive(self, outcome: Outcome) -> None:
        """Take in what the stepper found; called by the engine."""
        if isinstance(outcome, (Opened, Refused)):
            self._open(outcome)
            return
        if isinstance(outcome, Prepared):
            self._end_preparing(outcome.error)
            return
        if isinstance(outcome, Found):
            if self._alternatives is not None and not self._over.is_set():
                self._alternatives.receive(outcome.readings)
                self._update_room()
            return
        if isinstance(outcome, Notice):
            self.on_notice(outcome.error)
            return
        if self._is_over:
            return
        heard_at = self._backlog.settle(outcome)
        results = self._recognition.results_of(outcome, heard_at=heard_at)
        if any(isinstance(result, StreamEnded) for result in results):
            self._end_recognition()
        elif not self._backlog.has_chunks:
            self._is_recognised.set()
        found = None if isinstance(outcome, DiscardUtterance) else results
        if self._alternatives is None:
            self._pass_on(found)
        else:
            self._alternatives.push(found)
        self._update_room()

    def _pass_on(self, results: Sequence[Result] | None) -> None:
        """Take results as recognised; None for a discarded utterance."""
        if self._presentation is None:
            self._deliver(results or ())
        elif results is None:
            self._presentation.restart()
        else:
            self._presentation.push(results)

    def _deliver(self, results: Sequence[Result]) -> None:
        for result in results:
            self._put(result)
        if results:
            self._update_room()
            self._has_result.set()

    def _put(self, result: Result) -> None:
        self._outbox.put(result)
        if isinstance(result, Partial):
            self._partial_heard_at = self._backlog.heard_at
        if isinstance(result, StreamEnded):
            self._end_recognition()
            self._over.set()

    def _end_recognition(self) -> None:
        self._is_over = True
        self._is_recognised.set()

    def end(self, error: SirenError) -> None:
        """End the session's results with an error; called by the engine."""
        if not self._opening.done():
            self._opening.set_exception(error)
        self._end_preparing(error)
        self._put(StreamEnded(error))
        self._update_room()
        self._has_result.set()

    def _open(self, outcome: Opened | Refused) -> None:
        # Has no slot to give back; a word of it, behind the step under way, would leave in doubt
        # until then whether one comes free, and whoever is refused meanwhile would have to wait.
        self._is_refused = isinstance(outcome, Refused)
        if self._opening.done():  # cancelled, or the stepper has died
            return
        if isinstance(outcome, Refused):
            self._opening.set_exception(outcome.error)
        else:
            self._opening.set_result(None)

    def _end_preparing(self, error: SirenError | None) -> None:
        if self._preparing is None or self._preparing.done():
            return
        if error is None:
            self._preparing.set_result(None)
        else:
            self._preparing.set_exception(error)

    def _update_room(self) -> None:
        has_room = (
            self._backlog.n_samples < self._max_backlog_samples
            and self._backlog.n_ends < self._max_due_finals
            and not self._outbox.is_full
            and (self._presentation is None or self._presentation.n_waiting < self._max_due_finals)
            and (self._alternatives is None or self._alternatives.n_waiting < self._max_due_finals)
        )
        # What is submitted to a session that is over goes nowhere: nobody need wait for it.
        if has_room or self._is_over:
            self._has_room.set()
        else:
            self._has_room.clear()


def _ignore(error: SirenError) -> None:
    pass

"""One stream's end of the engine, for an asyncio caller."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic

from siren_grpc.domain.errors import SirenError
from siren_grpc.domain.types import (
    Chunk,
    DiscardUtterance,
    EndUtterance,
    Final,
    ModelInfo,
    Preview,
    Result,
    StreamEnded,
    Work,
)
from siren_grpc.engine.messages import (
    Close,
    Failed,
    Message,
    Opened,
    Outcome,
    Push,
    Recognised,
    Refused,
)
from siren_grpc.scheduling.scheduler import Marker, SessionId
from siren_grpc.session.outbox import Outbox
from siren_grpc.session.utterance import Utterance


@dataclass(frozen=True, slots=True)
class EngineLimits:
    """How much may wait for one session.

    max_backlog_s: seconds of audio submitted but not recognised, from which on `submit` waits.
    max_unsent_results: finals and events the client has not read, likewise.
    """

    max_backlog_s: float
    max_unsent_results: int


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
        on_close: Callable[[SessionId], None],
    ) -> None:
        """Made by `Engine.open`."""
        self._id = session_id
        self._send = send
        self._info = info
        self._utterance = utterance
        self._max_backlog_samples = int(limits.max_backlog_s * info.features.sample_rate_hertz)
        self._backlog: deque[int] = deque()
        """Samples of each chunk submitted and not recognised."""
        self._backlog_samples = 0
        self._max_due_finals = limits.max_unsent_results
        self._due_finals = 0
        self._outbox = Outbox(max_results=limits.max_unsent_results)
        self._has_result = asyncio.Event()
        self._has_room = asyncio.Event()
        self._has_room.set()
        self._on_close = on_close
        self._opening: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._is_closed = False
        self._is_preview_due = False
        """A preview went out since the last chunk, and nothing has come of it."""

    @property
    def id(self) -> SessionId:
        """Number of the session in the engine's log."""
        return self._id

    @property
    def info(self) -> ModelInfo:
        """The model that recognises the session."""
        return self._info

    async def wait_open(self) -> None:
        """Return when the session has a slot. Raises what it was refused with."""
        await self._opening

    async def submit(self, work: Sequence[Work]) -> None:
        """Queue work in order, waiting whenever too much is under way or unread.

        While this waits the caller reads nothing more from its client, so that HTTP/2 flow
        control slows the client down.
        """
        for item in work:
            await self._has_room.wait()
            if isinstance(item, Preview):
                # A busy stepper drops previews; another one would only keep it busier.
                if self._is_preview_due:
                    continue
                self._is_preview_due = True
            elif isinstance(item, Chunk):
                self._is_preview_due = False
                self._backlog.append(len(item.samples))
                self._backlog_samples += len(item.samples)
            elif isinstance(item, EndUtterance):
                self._due_finals += 1
            self._update_room()
            self._send([Push(self._id, item, monotonic())])

    async def take(self) -> Result:
        """Return the oldest result, waiting for one."""
        while (result := self._outbox.take()) is None:
            self._has_result.clear()
            await self._has_result.wait()
        self._update_room()
        return result

    def close(self) -> None:
        """Drop what is under way and free the slot; closing twice is harmless."""
        if not self._is_closed:
            self._is_closed = True
            self._on_close(self._id)
            self._send([Close(self._id)])

    def receive(self, outcome: Outcome) -> None:
        """Take in what the stepper found; called by the engine."""
        if isinstance(outcome, (Opened, Refused)):
            self._open(outcome)
            return
        results = self._results_of(outcome)
        for result in results:
            self._outbox.put(result)
            if isinstance(result, Final):
                self._due_finals -= 1
        if isinstance(outcome, (Recognised, Failed)) and isinstance(outcome.work, Chunk):
            self._backlog_samples -= self._backlog.popleft()
        elif isinstance(outcome, Recognised):
            self._is_preview_due = False
        self._update_room()
        if results:
            self._has_result.set()

    def end(self, error: SirenError) -> None:
        """End the session's results with an error; called by the engine."""
        if not self._opening.done():
            self._opening.set_exception(error)
        self._outbox.put(StreamEnded(error))
        self._has_result.set()

    def _open(self, outcome: Opened | Refused) -> None:
        if self._opening.done():  # cancelled, or the stepper has died
            return
        if isinstance(outcome, Refused):
            self._opening.set_exception(outcome.error)
        else:
            self._opening.set_result(None)

    def _results_of(self, outcome: Recognised | Failed | Marker) -> list[Result]:
        if isinstance(outcome, Recognised):
            return self._utterance.advance(outcome.work, outcome.result)
        if isinstance(outcome, Failed):
            return [StreamEnded(outcome.error)]
        if isinstance(outcome, EndUtterance):
            return self._utterance.finish(outcome)
        if isinstance(outcome, DiscardUtterance):
            self._utterance.discard(outcome)
            return []
        return [StreamEnded(outcome.error)]

    def _update_room(self) -> None:
        if (
            self._backlog_samples < self._max_backlog_samples
            and self._due_finals < self._max_due_finals
            and not self._outbox.is_full
        ):
            self._has_room.set()
        else:
            self._has_room.clear()

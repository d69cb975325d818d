"""Several sessions that are one to their stream: a channel each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from siren_grpc.domain.errors import InternalError, ModelError, SirenError
from siren_grpc.domain.model import ModelInfo
from siren_grpc.domain.phrases import Phrases
from siren_grpc.domain.results import (
    OfChannel,
    Reconfigured,
    Result,
    SpeechEvent,
    SpeechEventKind,
    StreamEnded,
)
from siren_grpc.domain.work import Feed, OnChannel, Work
from siren_grpc.engine.backlog import Timing
from siren_grpc.engine.session import EngineSession
from siren_grpc.session.ingress import Ingress

_OF_ALL = SpeechEventKind.SERVER_DRAINING


class SeparateSession:
    """Submits work to the session of its channel, and hands out the results of all.

    The stream ends when each channel's results have ended; a failure of recognition in one ends
    it at once.
    """

    def __init__(self, sessions: Sequence[EngineSession], channels: Sequence[Ingress]) -> None:
        """Take over open sessions. channels: cut the audio of each anew where it is rewound."""
        self._sessions = tuple(sessions)
        self._channels = tuple(channels)
        self._taking: dict[asyncio.Task[Result], int] = {}
        self._n_ended = 0
        self._n_updated = [0] * len(self._sessions)
        """Updates that took effect in each channel."""
        self._n_acknowledged = 0
        self._error: SirenError | None = None

    @property
    def info(self) -> ModelInfo:
        """The model that recognises the channels."""
        return self._sessions[0].info

    @property
    def sessions(self) -> tuple[EngineSession, ...]:
        """Each channel's session."""
        return self._sessions

    @property
    def timing(self) -> Timing:
        """Where the chunks of all channels spent their time."""
        all_of = [session.timing for session in self._sessions]
        return Timing(
            sum(timing.steps for timing in all_of),
            sum(timing.queue_s for timing in all_of),
            sum(timing.step_s for timing in all_of),
        )

    @property
    def on_notice(self) -> Callable[[SirenError], None]:
        """Called when the stepper wants the session of any channel to end, with why."""
        return self._sessions[0].on_notice

    @on_notice.setter
    def on_notice(self, call: Callable[[SirenError], None]) -> None:
        for session in self._sessions:
            session.on_notice = call

    @property
    def is_unread(self) -> bool:
        """Whether a channel takes no more work until results are taken."""
        return any(session.is_unread for session in self._sessions)

    async def set_phrases(self, phrases: Phrases) -> None:
        """Prefer these phrases in each channel; see `EngineSession.set_phrases`."""
        for session in self._sessions:
            await session.set_phrases(phrases)

    async def submit(self, work: Sequence[Feed]) -> None:
        """Queue work in order, that of each channel beside the others'."""
        queues: list[list[Work]] = [[] for _ in self._sessions]
        for item in work:
            if isinstance(item, OnChannel):
                queues[item.channel].append(item.work)
            else:
                for queue in queues:
                    queue.append(item)
        await asyncio.gather(*(self._submit(i, queue) for i, queue in enumerate(queues) if queue))

    async def _submit(self, channel: int, work: Sequence[Work]) -> None:
        ingress, session = self._channels[channel], self._sessions[channel]
        while (rewind := await session.submit(work)) is not None:
            work = ingress.rewind(rewind.at_samples, rewind.seq, rewind.work)

    async def take(self) -> OfChannel | Reconfigured | StreamEnded:
        """Return the next result of any channel, waiting for one."""
        if not self._taking and not self._n_ended:
            for channel in range(len(self._sessions)):
                self._take_next(channel)
        while True:
            # In the order of the channels: what is there of several comes in a fixed order.
            done, _ = await asyncio.wait(self._taking, return_when=asyncio.FIRST_COMPLETED)
            task = min(done, key=self._taking.__getitem__)
            channel = self._taking.pop(task)
            result = task.result()
            if isinstance(result, StreamEnded):
                self._n_ended += 1
                self._error = self._error or result.error
                is_broken = isinstance(result.error, (ModelError, InternalError))
                if is_broken or self._n_ended == len(self._sessions):
                    return StreamEnded(self._error)
                continue
            self._take_next(channel)
            if isinstance(result, Reconfigured):
                self._n_updated[channel] += 1
                if self._n_updated[channel] > self._n_acknowledged:  # the others' say the same
                    self._n_acknowledged += 1
                    return result
            elif isinstance(result, SpeechEvent) and result.kind is _OF_ALL:
                return OfChannel(0, result)
            else:
                return OfChannel(channel, result)

    def _take_next(self, channel: int) -> None:
        self._taking[asyncio.create_task(self._sessions[channel].take())] = channel

    def tell(self, event: SpeechEvent) -> None:
        """Put an event that is not of the audio among the results, of a channel that has some."""
        for session in self._sessions:
            if session.tell(event):
                return

    def close(self) -> None:
        """Drop what is under way and free the slots; closing twice is harmless."""
        for task in self._taking:
            task.cancel()
        for session in self._sessions:
            session.close()

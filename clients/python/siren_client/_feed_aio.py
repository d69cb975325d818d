"""A caller's audio on its way into the calls of one stream, for asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Iterable, Iterator
from typing import Any

import grpc
from siren.v1 import speech_pb2 as pb

from siren_client.types import AudioItem
from siren_client.unbroken import UnbrokenStream


class AsyncFeed:
    """Draws from the audio when a call takes more, and never twice at once.

    Audio that is waited for when a call breaks is for the next one.
    """

    def __init__(
        self, audio: AsyncIterable[AudioItem] | Iterable[AudioItem], stream: UnbrokenStream
    ) -> None:
        self.error: BaseException | None = None
        """What the audio raised."""
        self._audio = aiter(audio) if isinstance(audio, AsyncIterable) else _iterate(iter(audio))
        self._stream = stream
        self._pulling: asyncio.Task[AudioItem] | None = None
        self._has_answer = asyncio.Event()

    def note_answer(self) -> None:
        """Tell a sender that waits to hear where to go on that the server has said something."""
        self._has_answer.set()

    async def send(self, call: Any, first: pb.StreamingRecognizeRequest) -> None:
        """Send until the audio or the call is over; cancel the call if the audio fails.

        Audio follows once the server has answered the first request: a write under way as a call is
        refused makes grpc.aio say INTERNAL in the place of the server's own status.
        """
        self._has_answer.clear()
        if not await _is_taken(call.write(first)):
            return
        await self._has_answer.wait()
        request = self._stream.next_request()
        while request is not None or not self._stream.is_done_sending:
            if request is not None:
                if not await _is_taken(call.write(request)):
                    return
            elif not self._stream.wants_audio:
                self._has_answer.clear()
                await self._has_answer.wait()
            elif not await self._pull():
                call.cancel()
                return
            request = self._stream.next_request()
        await _is_taken(call.done_writing())

    async def close(self) -> None:
        """Wait for no more audio."""
        if self._pulling is not None:
            self._pulling.cancel()
            await asyncio.wait([self._pulling])

    async def _pull(self) -> bool:
        """Hand the next item over; False when the audio has failed."""
        if self._pulling is None:
            self._pulling = asyncio.create_task(self._next())
        await asyncio.wait([self._pulling])
        pulled, self._pulling = self._pulling, None
        try:
            self._stream.push(pulled.result())
        except StopAsyncIteration:
            self._stream.end()
        except asyncio.CancelledError:
            return False  # the audio's own: there is none of it for the reader to raise
        except BaseException as error:  # the reader raises it
            self.error = error
            return False
        return True

    async def _next(self) -> AudioItem:
        return await anext(self._audio)


async def _is_taken(writing: Awaitable[None]) -> bool:
    """Wait for a write; False when the call is over, whose status the reader gets."""
    try:
        await writing
    except (grpc.RpcError, asyncio.InvalidStateError):
        return False
    return True


async def _iterate(audio: Iterator[AudioItem]) -> AsyncIterator[AudioItem]:
    for item in audio:
        yield item

"""Telling a server that nobody comes back for a stream: it would keep its place for a while."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, Protocol

import grpc
from siren.v1 import speech_pb2 as pb


class Leavable(Protocol):
    """A stream's state: `BlockingFeed`."""

    def leave(self) -> pb.StreamingRecognizeRequest | None:
        """See `UnbrokenStream.leave`."""


class Goodbyes:
    """Those of one client's streams, from any thread."""

    def __init__(self, start: Callable[[pb.StreamingRecognizeRequest], Any]) -> None:
        """Prepare. start: begins a call of one request, with a deadline, and returns it."""
        self._start = start
        self._deferred: SimpleQueue[pb.StreamingRecognizeRequest] = SimpleQueue()

    def defer(self, stream: Leavable) -> None:
        """Note that a stream was left, to be told later.

        A collection of garbage may run anywhere, within gRPC's locks too, and makes no calls.
        """
        if (goodbye := stream.leave()) is not None:
            self._deferred.put(goodbye)

    def say(self, stream: Leavable) -> None:
        """Tell the server of a stream that was left, if need be, and of those deferred."""
        self.defer(stream)
        self.say_deferred()

    def say_deferred(self) -> None:
        """Tell the server of the streams deferred; waits for it no longer than the deadline."""
        calls = []
        with suppress(Empty):
            while True:
                goodbye = self._deferred.get_nowait()
                with suppress(Exception):  # the channel is closed, or there is no token to show
                    calls.append(self._start(goodbye))
        for call in calls:
            with suppress(grpc.RpcError):
                next(call, None)

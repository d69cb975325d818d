"""The call that a stream has at present."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from siren.v1 import speech_pb2 as pb

_SENDING_S = 2.0
"""How long a client that reads may take for one result."""


@dataclass(slots=True)
class Attachment:
    """A call, its handler and its reader.

    last_read: waits for what must not follow ACTION_END; ends with the call.
    waiting_since: when its reader began to wait for the client; None while it does not.
    is_left: its reader is left alone with that wait, and does nothing any more when it ends.
    sending_since: when gRPC was given a result that the client has not made room for yet; None
    when there is none.
    """

    requests: AsyncIterator[pb.StreamingRecognizeRequest]
    handler: asyncio.Task[Any] | None
    reader: asyncio.Task[None] | None = None
    last_read: asyncio.Task[pb.StreamingRecognizeRequest | None] | None = None
    waiting_since: float | None = None
    is_left: bool = False
    sending_since: float | None = None
    is_detached: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def is_over(self) -> bool:
        """Whether nobody wants its messages any more."""
        return self.is_left or self.is_detached.is_set()

    def leave_reader(self) -> bool:
        """Leave the reader alone if it waits for the client; return whether it did.

        It is not cancelled: gRPC ends that wait with the call, and would never free what it set
        aside for one that nobody awaits (grpc/grpc#43360).
        """
        if self.waiting_since is None:
            return False
        self.waiting_since, self.is_left = None, True
        return True

    def end(self) -> None:
        """End the call: at once, or behind the result that is on its way to the client.

        gRPC waits for that one to be taken. Cancelled in that wait, it would send no status, and
        the client would wait for its deadline.
        """
        if self.handler is None:
            return
        if self.sending_since is None:
            self.handler.cancel()
        else:
            asyncio.get_running_loop().call_later(_SENDING_S, self.handler.cancel)

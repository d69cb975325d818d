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

    waiting_since: when its reader began to wait for the client; None while it does not.
    sending_since: when gRPC was given a result that the client has not made room for yet; None
    when there is none.
    """

    requests: AsyncIterator[pb.StreamingRecognizeRequest]
    handler: asyncio.Task[Any] | None
    reader: asyncio.Task[None] | None = None
    waiting_since: float | None = None
    sending_since: float | None = None
    is_detached: asyncio.Event = field(default_factory=asyncio.Event)

    def stop_reading(self) -> None:
        """Read no more. What is being submitted is submitted: no request takes half an effect."""
        if self.reader is not None and self.waiting_since is not None:
            self.reader.cancel()

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

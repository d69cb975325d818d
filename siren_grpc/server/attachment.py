"""The call that a stream has at present."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from siren.v1 import speech_pb2 as pb


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

"""What a stream consists of, once its config was accepted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import cast

from siren_grpc.domain.work import Feed, Work
from siren_grpc.engine.separate import SeparateSession
from siren_grpc.engine.session import EngineSession
from siren_grpc.server import convert
from siren_grpc.server.call_id import CallId
from siren_grpc.server.front_end_tally import StreamRecord
from siren_grpc.server.request import ValidConfig
from siren_grpc.server.status import Trailers
from siren_grpc.session.ingress import Ingress
from siren_grpc.session.separate import SeparateIngress


@dataclass(frozen=True, slots=True)
class StreamParts:
    """A stream whose config was accepted."""

    id: CallId
    config: ValidConfig
    ingress: Ingress | SeparateIngress
    session: EngineSession | SeparateSession
    idle_timeout_s: float
    record: StreamRecord

    @property
    def reception(self) -> convert.Reception:
        """What a result sent now is to say of the stream."""
        hertz = self.session.info.features.sample_rate_hertz
        return convert.Reception(hertz, self.ingress.received_samples, monotonic())

    @property
    def trailers(self) -> Trailers:
        """Where the stream's time went, for its trailing metadata."""
        timing = self.session.timing
        hertz = self.session.info.features.sample_rate_hertz
        return (
            *self.id.trailers,
            ("siren-audio-ms", str(1000 * self.ingress.received_samples // hertz)),
            ("siren-steps", str(timing.steps)),
            ("siren-queue-ms", str(round(1000 * timing.queue_s))),
            ("siren-step-ms", str(round(1000 * timing.step_s))),
        )

    async def submit(self, work: Sequence[Feed]) -> None:
        """Give the engine work of the ingress, cut anew behind each hard endpoint."""
        if isinstance(self.session, SeparateSession) or isinstance(self.ingress, SeparateIngress):
            await self.session.submit(work)  # type: ignore[arg-type]  # both are separate
            return
        own = cast("Sequence[Work]", work)  # an Ingress makes no work for single channels
        while (rewind := await self.session.submit(own)) is not None:
            own = self.ingress.rewind(rewind.at_samples, rewind.seq, rewind.work)

    async def submit_pieces(
        self, pieces: Iterable[Sequence[Feed]], is_wanted: Callable[[], bool]
    ) -> None:
        """Submit work as it is made, in turns with other streams, while it is wanted."""
        is_first = True
        for work in pieces:
            if not is_first:
                await asyncio.sleep(0)  # nothing else need wait, and so notice a cancellation
                if not is_wanted():
                    return
            is_first = False
            await self.submit(work)

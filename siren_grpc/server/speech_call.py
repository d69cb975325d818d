"""One call of the speech service from its begin to its status, whatever its method."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeAlias

import grpc

from siren_grpc.domain.errors import InternalError, SirenError
from siren_grpc.server.call_id import CallId
from siren_grpc.server.front_end_tally import CallRecord, FrontEndTally
from siren_grpc.server.load_reports import LoadReports
from siren_grpc.server.redaction import loggable
from siren_grpc.server.status import Trailers, to_status
from siren_grpc.server.stream import Stream

_log = logging.getLogger(__name__)
_Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"  # generic for mypy only
_UNEXPECTED = "the call failed unexpectedly; the cause is in the server's log under the session id"


@dataclass(slots=True, eq=False)
class SpeechCall:
    """A call whose handler runs.

    id: its own or, once it resumes a stream, that of the call that began it. dismissed: what it is
    to end with, though its stream has not begun.
    """

    id: CallId
    record: CallRecord
    stream: Stream | None = None
    dismissed: asyncio.Future[SirenError] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    def dismiss(self, error: SirenError) -> None:
        """End the call before its stream begins, or its stream as it begins."""
        if not self.dismissed.done():
            self.dismissed.set_result(error)

    def bind(self, stream: Stream) -> None:
        """Note which stream the call runs."""
        self.id, self.stream = stream.parts.id, stream
        self.record.bind(stream)

    @property
    def trailers(self) -> Trailers:
        """What the call's trailing metadata say of it."""
        return self.id.trailers if self.stream is None else self.stream.parts.trailers


@asynccontextmanager
async def speech_call(
    method: str, context: _Context, call_id: CallId, tally: FrontEndTally, loads: LoadReports
) -> AsyncIterator[SpeechCall]:
    """Run a call's handler as the body: count it, and end it with the status that it earned.

    method: the name alone. loads: what its trailers say of the server's load. Raises what gRPC
    aborts a handler with, in the place of any error of the body's.
    """
    call = SpeechCall(call_id, tally.begin_call(method, context, call_id))
    try:
        yield call
        if call.stream is not None:
            _log.info("session %s: ended", call.id)
            context.set_trailing_metadata((*call.trailers, *loads.trailers))
        call.record.succeed()
    except SirenError as error:
        call.record.fail(error)
        _log.info("session %s: %s: %s", call.id, error.reason.value, loggable(error))
        await _abort(context, error, call.id, (*call.trailers, *loads.trailers))
    except Exception:
        call.record.fail(None)
        # The cause goes to the log, never to the client.
        _log.exception("session %s: the call failed", call.id)
        await _abort(context, InternalError(_UNEXPECTED), call.id, call.id.trailers)


async def _abort(
    context: _Context, error: SirenError, call_id: CallId, trailers: Trailers
) -> NoReturn:
    await context.abort_with_status(to_status(error, session_id=call_id.session, trailers=trailers))
    raise AssertionError("abort_with_status raises")

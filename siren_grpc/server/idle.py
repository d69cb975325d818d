"""Calls whose client does nothing any more: it sends nothing, or takes nothing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from siren_grpc.server.attachment import Attachment

_log = logging.getLogger(__name__)
_LEAST_POLL_S = 0.05
_MOST_GOODBYE_S = 5.0
"""How long the client may take to read why its stream ended."""


async def watch_idle(
    attached: Attachment,
    timeout_s: float,
    *,
    is_stuck: Callable[[], bool],
    end: Callable[[], None],
) -> None:
    """Return when a call is over for its client's idleness.

    is_stuck: whether the stream does not go on until the client reads. end: ends the stream, for
    its client sends nothing. A call that does not end because the client does not read either is
    cancelled: its session would be held for as long as the connection answers pings. One whose
    results are not all there yet is given time.
    """
    clock = asyncio.get_running_loop().time
    while True:
        unsent_s = _since(attached.waiting_since, clock())
        unread_s = _since(attached.sending_since, clock()) if is_stuck() else 0.0
        if max(unsent_s, unread_s) >= timeout_s:
            break
        await asyncio.sleep(max(_LEAST_POLL_S, timeout_s - max(unsent_s, unread_s)))
    if unread_s < timeout_s:
        end()
        patience_s = min(timeout_s, _MOST_GOODBYE_S)
        while (unread_s := _since(attached.sending_since, clock())) < patience_s:  # noqa: ASYNC110 (a time, no event)
            await asyncio.sleep(max(_LEAST_POLL_S, patience_s - unread_s))
    if attached.handler is not None:
        _log.info("a client takes no results any more; its call is cancelled")
        attached.handler.cancel()


def _since(began_at: float | None, now: float) -> float:
    return 0.0 if began_at is None else now - began_at

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
    is_unread: Callable[[], bool],
    end: Callable[[], None],
) -> None:
    """Return when a call is over for its client's idleness.

    is_unread: whether no audio is taken until the client reads. end: ends the stream, for its
    client sends nothing. A call that cannot end, because the client does not read that either, is
    cancelled: its session would be held for as long as the connection answers pings.
    """
    loop = asyncio.get_running_loop()
    while True:
        now = loop.time()
        waiting, sending = attached.waiting_since, attached.sending_since
        unsent_s = 0.0 if waiting is None else now - waiting
        unread_s = now - sending if sending is not None and is_unread() else 0.0
        if max(unsent_s, unread_s) >= timeout_s:
            break
        await asyncio.sleep(max(_LEAST_POLL_S, timeout_s - max(unsent_s, unread_s)))
    if unsent_s >= timeout_s:
        end()
        await asyncio.sleep(min(timeout_s, _MOST_GOODBYE_S))
    if attached.handler is not None:
        _log.info("a client takes no results any more; its call is cancelled")
        attached.handler.cancel()

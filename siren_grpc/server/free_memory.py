"""What the C library keeps of freed memory, in a process that serves gRPC."""

from __future__ import annotations

import asyncio
import ctypes
import sys
import time
from collections.abc import Callable

_LOOK_S = 0.5
_BUSY_S = 60.0


def give_back() -> None:
    """Give freed memory back to the system; does nothing elsewhere than on glibc."""
    if sys.platform.startswith("linux"):
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:  # musl has none
            trim(0)


async def give_back_freed(is_idle: Callable[[], bool]) -> None:
    """Give freed memory back to the system, until cancelled.

    When the last stream has gone, and every minute while streams are there. glibc gives back only
    what lies at the end of its heaps: one small block that stays, of a connection say, keeps all
    the room below it that streams had.

    Args:
        is_idle: whether no stream is there.

    """
    was_idle, given_at = True, time.monotonic()
    while True:
        await asyncio.sleep(_LOOK_S)
        idle = is_idle()
        has_emptied = idle and not was_idle
        is_due = not idle and time.monotonic() - given_at >= _BUSY_S
        if has_emptied or is_due:
            await asyncio.to_thread(give_back)
            given_at = time.monotonic()
        was_idle = idle

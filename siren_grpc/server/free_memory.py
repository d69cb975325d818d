"""What the C library keeps of freed memory, in a process that serves gRPC."""

from __future__ import annotations

import asyncio
import ctypes
import sys
from collections.abc import Callable

_LOOK_S = 0.5


async def give_back_when_idle(is_idle: Callable[[], bool]) -> None:
    """Give freed memory back to the system when the last stream has gone; until cancelled.

    glibc gives back only what lies at the end of its heaps: one small block that stays, of a
    connection say, keeps all the room below it that streams had. Does nothing elsewhere than on
    glibc. is_idle: whether no stream is there.
    """
    if not sys.platform.startswith("linux"):
        return
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is None:  # musl
        return
    was_idle = True
    while True:
        await asyncio.sleep(_LOOK_S)
        if is_idle() and not was_idle:
            trim(0)
        was_idle = is_idle()

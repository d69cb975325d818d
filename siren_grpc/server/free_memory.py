"""What the C library keeps of freed memory in a process that serves gRPC, and what is in use."""

from __future__ import annotations

import asyncio
import ctypes
import sys
import time
from collections.abc import Callable
from typing import Any

_M_ARENA_MAX = -8  # malloc.h of glibc
_LOOK_S = 0.5
_BUSY_S = 60.0


class _MallInfo(ctypes.Structure):
    """`struct mallinfo2` of glibc's malloc.h."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    )


def keep_one_heap() -> None:
    """Allocate from one heap in all threads begun from now on, on glibc.

    It gives each of gRPC's threads a heap by default. They have little to do at once, but each
    fills and empties its heap by itself: what is in use spreads over many times the room.
    """
    mallopt = _of_glibc("mallopt")
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 1)


def give_back() -> None:
    """Give freed memory back to the system; does nothing elsewhere than on glibc."""
    trim = _of_glibc("malloc_trim")
    if trim is not None:
        trim(0)


def heap_in_use() -> int:
    """Return the bytes that are allocated and not freed; 0 elsewhere than on glibc 2.33.

    Most of Python's own objects are not among them: it has an allocator of its own.
    """
    count = _of_glibc("mallinfo2")
    if count is None:
        return 0
    count.restype = _MallInfo
    found = count()
    return int(found.uordblks + found.hblkhd)


def _of_glibc(name: str) -> Any | None:
    if not sys.platform.startswith("linux"):
        return None
    return getattr(ctypes.CDLL(None), name, None)  # musl has none of them


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

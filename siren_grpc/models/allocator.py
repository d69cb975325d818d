"""How the C library keeps memory on a CPU."""

from __future__ import annotations

import ctypes
import logging
import sys

_log = logging.getLogger(__name__)
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3  # malloc.h of glibc
_KEPT_BYTES = 1 << 30


def keep_freed_memory() -> None:
    """Make glibc keep the memory a step frees for the next step, instead of giving it back.

    A step of a large batch allocates and frees tensors of many megabytes. By default glibc returns
    them to the kernel each time, and the page faults of getting them again took half of a step.
    Does nothing elsewhere than on glibc.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # musl
        return
    accepted = [
        mallopt(_M_MMAP_THRESHOLD, 32 << 20),  # the most that glibc takes
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES),
        mallopt(_M_TOP_PAD, 64 << 20),
    ]
    if not all(accepted):
        _log.warning("the C library refused to keep freed memory: large steps will be slower")

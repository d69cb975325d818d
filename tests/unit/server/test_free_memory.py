"""Memory that streams had goes back to the system behind them."""

from __future__ import annotations

import asyncio
import platform
import subprocess
import sys

import psutil
import pytest

from siren_grpc.server import free_memory

_BLOCK = 64 << 10  # below what glibc maps by itself, and gives back by itself
_N_BLOCKS = 1000


def resident() -> int:
    return psutil.Process().memory_info().rss


pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="speaks of glibc's heap")


async def is_given_back(before: int) -> None:
    while before - resident() < _BLOCK * _N_BLOCKS // 2:  # noqa: ASYNC110 (a figure, no event)
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("goes_idle", [True, False])
async def test_it_is_given_back(monkeypatch: pytest.MonkeyPatch, goes_idle: bool) -> None:
    """Once the last stream has gone; and from time to time while streams are there."""
    monkeypatch.setattr(free_memory, "_LOOK_S", 0.01)
    monkeypatch.setattr(free_memory, "_BUSY_S", 60.0 if goes_idle else 0.3)
    is_idle = False
    giving = asyncio.create_task(free_memory.give_back_freed(lambda: is_idle))
    blocks = [b"\1" * _BLOCK for _ in range(_N_BLOCKS)]
    del blocks[:-1]  # the last one holds the heap's end in its place
    await asyncio.sleep(0.05)
    before = resident()
    is_idle = goes_idle
    await asyncio.wait_for(is_given_back(before), 10)
    giving.cancel()
    assert len(blocks) == 1


def test_what_is_allocated_counts_until_it_is_freed() -> None:
    before = free_memory.heap_in_use()
    blocks = [bytes(_BLOCK) for _ in range(100)]
    assert 100 * _BLOCK <= free_memory.heap_in_use() - before < 101 * _BLOCK
    del blocks
    assert abs(free_memory.heap_in_use() - before) < _BLOCK


_HEAPS = """
import ctypes, sys, threading
from siren_grpc.server.free_memory import keep_one_heap
if sys.argv[1] == "one":
    keep_one_heap()
meet = threading.Barrier(4)
def work():
    block = ctypes.CDLL(None).malloc(100)
    meet.wait()
threads = [threading.Thread(target=work) for _ in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
sys.stderr.flush()
ctypes.CDLL(None).malloc_stats()
"""


@pytest.mark.parametrize(("how", "is_one"), [("one", True), ("many", False)])
def test_threads_allocate_from_one_heap(how: str, is_one: bool) -> None:
    told = subprocess.run(
        [sys.executable, "-c", _HEAPS, how], capture_output=True, text=True, check=True
    ).stderr
    assert "Arena 0" in told
    assert ("Arena 1" not in told) is is_one

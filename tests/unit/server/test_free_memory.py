"""Memory that streams had goes back to the system behind them."""

from __future__ import annotations

import asyncio
import platform

import psutil
import pytest

from siren_grpc.server import free_memory

_BLOCK = 64 << 10  # below what glibc maps by itself, and gives back by itself
_N_BLOCKS = 1000


def resident() -> int:
    return psutil.Process().memory_info().rss


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="speaks of glibc's heap")
async def test_it_is_given_back_once_the_last_stream_has_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(free_memory, "_LOOK_S", 0.01)
    is_idle = False
    giving = asyncio.create_task(free_memory.give_back_when_idle(lambda: is_idle))
    blocks = [b"\1" * _BLOCK for _ in range(_N_BLOCKS)]
    del blocks[:-1]  # the last one holds the heap's end in its place
    await asyncio.sleep(0.05)
    before = resident()
    is_idle = True

    async def is_given_back() -> None:
        while before - resident() < _BLOCK * _N_BLOCKS // 2:  # noqa: ASYNC110 (a figure, no event)
            await asyncio.sleep(0.01)

    await asyncio.wait_for(is_given_back(), 10)
    giving.cancel()
    assert len(blocks) == 1

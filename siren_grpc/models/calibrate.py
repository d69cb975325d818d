"""Choosing threads and batch sizes on a CPU by measuring, a second or two at start.

What a step costs depends on the cores, their caches and the model in ways no table foresees: two
threads can be slower than one, and a batch of 64 no better for each of its rows than one of 12.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable

import torch

from siren_grpc.domain.types import Lane
from siren_grpc.models.backend import LoadedBackend
from siren_grpc.models.warmup import silent_rows

_log = logging.getLogger(__name__)
_REPEATS = 3
_LONGEST_SHARE = 0.15
"""Of a chunk's duration: the longest step worth its throughput. Others wait for it."""
_WORTH = 0.97
"""A larger batch must cost each row at most this much of what the smaller one does."""


def sizes_up_to(largest: int) -> tuple[int, ...]:
    """Return batch sizes 1, 2, 3, 4, 6, 8, 12, ... up to the largest, which is one of them.

    A batch padded to the next of them is at most half as large again.
    """
    sizes = {size << shift for size in (2, 3) for shift in range(largest.bit_length())}
    return tuple(sorted({1, largest} | {size for size in sizes if size < largest}))


def calibrate(backend: LoadedBackend, *, threads: int, max_batch: int | None) -> None:
    """Set torch's threads and the backend's batch sizes.

    threads: 0 for the quickest number. max_batch: the most rows, None for what is worth it.
    """
    lane = Lane(backend.info.default_chunk_frames, backend.info.decoders[0])
    sizes = backend.batch_sizes
    middle = min(sizes, key=lambda size: abs(size - 8))
    if threads == 0:
        seconds = {
            count: _with_threads(count, lambda: _seconds(backend, lane, middle))
            for count in _thread_counts()
        }
        threads = min(seconds, key=lambda count: seconds[count])
        _log.info("threads: %d (%s)", threads, _milliseconds(seconds, "thread(s)"))
    torch.set_num_threads(threads)
    if max_batch is None:
        backend.batch_sizes = _worthwhile(backend, lane)


def _worthwhile(backend: LoadedBackend, lane: Lane) -> tuple[int, ...]:
    """Return the sizes up to the largest that is worth its length."""
    longest = _LONGEST_SHARE * backend.info.geometry(lane.chunk_frames).latency_ms / 1000
    seconds: dict[int, float] = {}
    best = backend.batch_sizes[0]
    for size in backend.batch_sizes:
        seconds[size] = _seconds(backend, lane, size)
        if seconds[size] > longest and size > 1:
            break
        if seconds[size] / size <= _WORTH * seconds[best] / best:
            best = size
    _log.info("largest batch: %d (%s)", best, _milliseconds(seconds, "row(s)"))
    return tuple(size for size in backend.batch_sizes if size <= best)


def _thread_counts() -> list[int]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    cores = cores or 1
    return sorted({1, *(1 << shift for shift in range(cores.bit_length())), cores} - {0})


def _with_threads(count: int, measure: Callable[[], float]) -> float:
    torch.set_num_threads(count)
    return measure()


def _seconds(backend: LoadedBackend, lane: Lane, n_rows: int) -> float:
    """Return how long a step of later chunks takes, the quickest of a few."""
    rows = silent_rows(backend.info, lane, n_rows, is_first=False)
    times = []
    for _ in range(_REPEATS):
        began = time.perf_counter()
        backend.step(lane, rows)
        times.append(time.perf_counter() - began)
    return min(times)


def _milliseconds(seconds: dict[int, float], what: str) -> str:
    return ", ".join(f"{n} {what}: {1000 * s:.1f} ms" for n, s in seconds.items())

"""Choosing threads and batch sizes on a CPU by measuring, a second or two at start.

What a step costs depends on the cores, their caches and the model in ways no table foresees: two
threads can be slower than one, and a batch of 64 no better for each of its rows than one of 12.
"""

from __future__ import annotations

import logging

from siren_grpc.domain.model import Lane
from siren_grpc.models.backend import LoadedBackend
from siren_grpc.models.warmup import step_seconds
from siren_grpc.runtime import cores

_log = logging.getLogger(__name__)
_SHORT_SHARE = 0.1
"""Of a chunk's duration: what a step of one row may take before more threads share it."""
_LONGEST_SHARE = 0.1
"""Of a chunk's duration: the longest step worth its throughput. Others wait for it."""
_WORTH = 0.97
"""A larger batch must cost each row at most this much of what the smaller one does."""


def sizes_up_to(largest: int) -> tuple[int, ...]:
    """Return batch sizes 1 to 8, 10, 12, 14, 16, 20, 24, ... up to the largest, which is one.

    A batch padded to the next of them is at most a quarter larger.
    """
    sizes = {1, 2, 3} | {size << k for size in (4, 5, 6, 7) for k in range(largest.bit_length())}
    return tuple(sorted({largest} | {size for size in sizes if size < largest}))


def calibrate(
    backend: LoadedBackend,
    *,
    threads: int,
    parallel_steps: int,
    max_batch: int | None,
    n_front_ends: int,
) -> None:
    """Set torch's threads, how many steps to run at once, and the backend's batch sizes.

    threads: of a step; 0 for as few as keep a step of one row short. The cores are then shared by
    steps at once: that wastes less than threads that wait for each other within a step.
    parallel_steps: how many, 0 for as many as there are cores for beside those of n_front_ends
    processes. max_batch: the most rows, None for what is worth it.
    """
    lane = Lane(backend.info.default_chunk_frames, backend.info.decoders[0])
    n_cores = cores()
    if threads == 0:
        threads = _fewest_threads(backend, lane, n_cores)
    backend.threads = threads
    backend.n_parallel = parallel_steps or max(1, (n_cores - n_front_ends) // threads)
    if max_batch is None:
        backend.batch_sizes = _worthwhile(backend, lane)
    _log.info(
        "steps of at most %d rows, %d at once, %d thread(s) each",
        backend.batch_sizes[-1],
        backend.n_parallel,
        threads,
    )


def _fewest_threads(backend: LoadedBackend, lane: Lane, n_cores: int) -> int:
    """Return the fewest threads with which a step of one row is short, else the quickest number."""
    short = _SHORT_SHARE * backend.info.geometry(lane.chunk_frames).latency_ms / 1000
    seconds: dict[int, float] = {}
    for count in sorted({*(1 << shift for shift in range(n_cores.bit_length())), n_cores}):
        if count <= n_cores:
            backend.threads = count
            seconds[count] = step_seconds(backend, lane, 1)
            if seconds[count] <= short:
                return count
    return min(seconds, key=lambda count: seconds[count])


def _worthwhile(backend: LoadedBackend, lane: Lane) -> tuple[int, ...]:
    """Return the sizes up to the largest that is worth its length."""
    longest = _LONGEST_SHARE * backend.info.geometry(lane.chunk_frames).latency_ms / 1000
    seconds: dict[int, float] = {}
    best = backend.batch_sizes[0]
    for size in sorted({best, *backend.batch_sizes[::-2]}):  # every other one tells enough
        seconds[size] = step_seconds(backend, lane, size)
        if seconds[size] > longest and size > 1:
            break
        if seconds[size] / size <= _WORTH * seconds[best] / best:
            best = size
    _log.info("largest batch: %d (%s)", best, _milliseconds(seconds, "row(s)"))
    return tuple(size for size in backend.batch_sizes if size <= best)


def _milliseconds(seconds: dict[int, float], what: str) -> str:
    return ", ".join(f"{n} {what}: {1000 * s:.1f} ms" for n, s in seconds.items())

"""Running every shape of step once, before a server says that it serves."""

from __future__ import annotations

import logging
from time import perf_counter

import numpy as np

from siren_grpc.domain.errors import InvalidConfig
from siren_grpc.domain.model import Lane, ModelInfo
from siren_grpc.domain.phrases import Phrase
from siren_grpc.domain.ports import OutOfMemory, PhraseTree, PhraseTrees
from siren_grpc.domain.step import StepRow
from siren_grpc.domain.work import Preview
from siren_grpc.models.backend import LoadedBackend

_REPEATS = 3

_log = logging.getLogger(__name__)


def warm_up(backend: LoadedBackend) -> None:
    """Step silence in every look-ahead and decoder, and note how long it takes; no slot changes.

    The first step of a shape is slow: memory is allocated, kernels are chosen, and on a GPU graphs
    are captured, hence every batch size there, the largest first, for its graphs hold the smaller
    ones; a CPU needs only the smallest and the largest.

    A batch size that finds no memory is dropped, and the larger ones with it, as they would be
    while serving. Raises OutOfMemory when it is the smallest.
    """
    seconds = None
    while seconds is None:
        seconds = _seconds_of_lanes(backend)
    if backend.is_on_gpu and backend.phrase_trees is not None:
        _warm_up_phrases(backend, backend.phrase_trees)
    left = backend.batch_sizes
    backend.step_seconds = {
        lane: {size: took_s for size, took_s in by_size.items() if size in left}
        for lane, by_size in seconds.items()
    }


def _seconds_of_lanes(backend: LoadedBackend) -> dict[Lane, dict[int, float]] | None:
    """Return what steps of each lane take by their size; None once a size was dropped.

    All lanes are to be measured anew then: none may lack the size that is the largest now.
    """
    every = backend.batch_sizes
    sizes = every[::-1] if backend.is_on_gpu else tuple(sorted({every[0], every[-1]}))
    seconds: dict[Lane, dict[int, float]] = {}
    for chunk_frames in backend.info.look_aheads:
        for decoder in backend.info.decoders:
            lane = Lane(chunk_frames, decoder)
            seconds[lane] = {}
            for size in sizes:
                try:
                    backend.step(lane, silent_rows(backend.info, lane, size, is_first=True))
                    seconds[lane][size] = step_seconds(backend, lane, size)
                except OutOfMemory:
                    if not _drop(backend, size):
                        raise
                    return None
    return seconds


def _drop(backend: LoadedBackend, size: int) -> bool:
    """Make no steps of a size or larger from now on; False, and nothing done, if none is left."""
    fitting = tuple(smaller for smaller in backend.batch_sizes if smaller < size)
    if not fitting:
        return False
    backend.batch_sizes = fitting
    _log.warning(
        "out of memory for a step of %d rows: steps of %s take at most %d",
        size,
        backend.info.id,
        fitting[-1],
    )
    return True


def step_seconds(backend: LoadedBackend, lane: Lane, n_rows: int) -> float:
    """Return how long a step of later chunks takes, the quickest of a few."""
    rows = silent_rows(backend.info, lane, n_rows, is_first=False)
    times = []
    for _ in range(_REPEATS):
        began = perf_counter()
        backend.step(lane, rows)
        times.append(perf_counter() - began)
    return min(times)


def _warm_up_phrases(backend: LoadedBackend, trees: PhraseTrees) -> None:
    """Step the largest batch with phrases: their decoders' graphs hold smaller ones too."""
    tree = _some_tree(backend.info, trees)
    tree_id = None if tree is None else trees.load(tree)
    if tree_id is None:
        return
    try:
        while not _phrases_fit(backend, trees, tree_id):
            pass  # once more, with the sizes that are left
    finally:
        trees.unload(tree_id)


def _phrases_fit(backend: LoadedBackend, trees: PhraseTrees, tree_id: int) -> bool:
    """Step the largest batch with phrases in every lane; False once it found no memory."""
    size = backend.batch_sizes[-1]
    for slot in range(size):
        trees.use(slot, tree_id)
    try:
        for chunk_frames in backend.info.look_aheads:
            for decoder in backend.info.biasing_decoders:
                lane = Lane(chunk_frames, decoder)
                backend.step(lane, silent_rows(backend.info, lane, size, is_first=False))
    except OutOfMemory:
        if not _drop(backend, size):
            raise
        return False
    finally:
        for slot in range(size):
            trees.use(slot, None)
    return True


def _some_tree(info: ModelInfo, trees: PhraseTrees) -> PhraseTree | None:
    """Return the tree of a phrase that the model can write."""
    for text in info.token_texts:
        if isinstance(text, str) and text.strip():
            try:
                return trees.build((Phrase(text.strip()),))
            except InvalidConfig:
                continue  # a token that stands for no text
    return None


def silent_rows(info: ModelInfo, lane: Lane, n_rows: int, *, is_first: bool) -> list[StepRow]:
    """Return rows of whole chunks of silence, which leave no trace in slots 0 to n_rows - 1."""
    geometry = info.geometry(lane.chunk_frames)
    silence = Preview(
        samples=np.zeros(geometry.chunk_samples(is_first=is_first), np.float32),
        feature_frames=geometry.feature_frames(is_first=is_first),
        is_first=is_first,
        end_samples=0,
        seq=0,
    )
    return [StepRow(slot, silence) for slot in range(n_rows)]

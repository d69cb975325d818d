"""Running every shape of step once, before a server says that it serves."""

from __future__ import annotations

from time import perf_counter

import numpy as np

from siren_grpc.domain.errors import InvalidConfig
from siren_grpc.domain.model import Lane, ModelInfo
from siren_grpc.domain.phrases import Phrase
from siren_grpc.domain.ports import PhraseTree, PhraseTrees
from siren_grpc.domain.step import StepRow
from siren_grpc.domain.work import Preview
from siren_grpc.models.backend import LoadedBackend

_REPEATS = 3


def warm_up(backend: LoadedBackend) -> None:
    """Step silence in every look-ahead and decoder, and note how long it takes; no slot changes.

    The first step of a shape is slow: memory is allocated, kernels are chosen, and on a GPU graphs
    are captured, hence every batch size there, the largest first, for its graphs hold the smaller
    ones; a CPU needs only the smallest and the largest.
    """
    every = backend.batch_sizes
    sizes = every[::-1] if backend.is_on_gpu else tuple(sorted({every[0], every[-1]}))
    seconds: dict[Lane, dict[int, float]] = {}
    for chunk_frames in backend.info.look_aheads:
        for decoder in backend.info.decoders:
            lane = Lane(chunk_frames, decoder)
            for size in sizes:
                backend.step(lane, silent_rows(backend.info, lane, size, is_first=True))
            seconds[lane] = {size: step_seconds(backend, lane, size) for size in sizes}
    backend.step_seconds = seconds
    if backend.is_on_gpu and backend.phrase_trees is not None:
        _warm_up_phrases(backend, backend.phrase_trees)


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
    size = backend.batch_sizes[-1]
    for slot in range(size):
        trees.use(slot, tree_id)
    for chunk_frames in backend.info.look_aheads:
        for decoder in backend.info.biasing_decoders:
            lane = Lane(chunk_frames, decoder)
            backend.step(lane, silent_rows(backend.info, lane, size, is_first=False))
    for slot in range(size):
        trees.use(slot, None)
    trees.unload(tree_id)


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

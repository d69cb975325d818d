"""Every shape of step is run once, and leaves nothing behind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from siren_grpc.domain.geometry import ChunkGeometry, FeatureGeometry
from siren_grpc.domain.model import DecoderKind, Lane
from siren_grpc.domain.phrases import Phrases
from siren_grpc.domain.step import StepRow
from siren_grpc.domain.work import Preview
from siren_grpc.models.warmup import warm_up

FEATURES = FeatureGeometry(
    sample_rate_hertz=16000, hop_samples=160, window_samples=400, subsampling=8
)


class RecordingBackend:
    """Notes the shapes it is asked to step."""

    batch_sizes = (1, 2, 4)
    info = SimpleNamespace(
        look_aheads=(1, 7),
        decoders=tuple(DecoderKind),
        biasing_decoders=tuple(DecoderKind),
        token_texts=(7, "", " the"),
        geometry=lambda chunk_frames: ChunkGeometry(FEATURES, chunk_frames),
    )

    def __init__(self, *, is_on_gpu: bool) -> None:
        self.is_on_gpu = is_on_gpu
        self.step_seconds: Mapping[Lane, Mapping[int, float]] = {}
        self.shapes: set[tuple[int, DecoderKind, int, bool]] = set()
        self.with_phrases: set[tuple[int, DecoderKind, int]] = set()
        self.trees: dict[int, int] = {}
        self.loaded: set[int] = set()

    @property
    def phrase_trees(self) -> RecordingBackend:
        return self

    def build(self, phrases: Phrases) -> Phrases:
        return phrases

    def load(self, tree: Phrases) -> int:
        assert [phrase.text for phrase in tree] == ["the"]
        self.loaded.add(5)
        return 5

    def use(self, slot: int, tree_id: int | None) -> None:
        self.trees.pop(slot, None)
        if tree_id is not None:
            self.trees[slot] = tree_id

    def unload(self, tree_id: int) -> None:
        self.loaded.remove(tree_id)

    def step(self, lane: Lane, rows: Sequence[StepRow]) -> list[Any]:
        assert len({row.slot for row in rows}) == len(rows)
        geometry = ChunkGeometry(FEATURES, lane.chunk_frames)
        for row in rows:
            is_first = row.work.is_first
            assert isinstance(row.work, Preview), "a chunk would change the slot"
            assert row.work.feature_frames == geometry.feature_frames(is_first=is_first)
            assert len(row.work.samples) == geometry.chunk_samples(is_first=is_first)
            if all(row.slot in self.trees for row in rows):
                self.with_phrases.add((lane.chunk_frames, lane.decoder, len(rows)))
            self.shapes.add((lane.chunk_frames, lane.decoder, len(rows), is_first))
        return []


@pytest.mark.parametrize(("is_on_gpu", "sizes"), [(True, (1, 2, 4)), (False, (1, 4))])
def test_every_shape_is_run(is_on_gpu: bool, sizes: tuple[int, ...]) -> None:
    backend = RecordingBackend(is_on_gpu=is_on_gpu)
    warm_up(backend)  # type: ignore[arg-type]
    assert backend.shapes == {
        (chunk_frames, decoder, size, is_first)
        for chunk_frames in (1, 7)
        for decoder in DecoderKind
        for size in sizes
        for is_first in (True, False)
    }
    assert {(lane.chunk_frames, lane.decoder) for lane in backend.step_seconds} == {
        (chunk_frames, decoder) for chunk_frames in (1, 7) for decoder in DecoderKind
    }
    for alone_s in backend.step_seconds.values():
        assert tuple(sorted(alone_s)) == sizes
        assert min(alone_s.values()) > 0
    # A CPU has no graphs to capture.
    assert backend.with_phrases == {
        (chunk_frames, decoder, 4)
        for chunk_frames in (1, 7)
        for decoder in DecoderKind
        if is_on_gpu
    }
    assert not backend.trees
    assert not backend.loaded

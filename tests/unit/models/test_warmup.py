"""Every shape of step is run once, and leaves nothing behind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from siren_grpc.domain.geometry import ChunkGeometry, FeatureGeometry
from siren_grpc.domain.model import DecoderKind, Lane
from siren_grpc.domain.phrases import Phrases
from siren_grpc.domain.ports import OutOfMemory
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
        id="recording",
        look_aheads=(1, 7),
        decoders=tuple(DecoderKind),
        biasing_decoders=tuple(DecoderKind),
        token_texts=(7, "", " the"),
        geometry=lambda chunk_frames: ChunkGeometry(FEATURES, chunk_frames),
    )

    def __init__(
        self,
        *,
        is_on_gpu: bool,
        most_rows: int = 4,
        most_with_phrases: int = 4,
        narrow: Lane | None = None,
    ) -> None:
        """Find memory for so many rows only. narrow: a lane for which two are too many."""
        self.is_on_gpu = is_on_gpu
        self.most_rows, self.most_with_phrases, self.narrow = most_rows, most_with_phrases, narrow
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
        has_phrases = all(row.slot in self.trees for row in rows)
        most = self.most_with_phrases if has_phrases else self.most_rows
        if len(rows) > (1 if lane == self.narrow else most):
            raise OutOfMemory
        geometry = ChunkGeometry(FEATURES, lane.chunk_frames)
        for row in rows:
            is_first = row.work.is_first
            assert isinstance(row.work, Preview), "a chunk would change the slot"
            assert row.work.feature_frames == geometry.feature_frames(is_first=is_first)
            assert len(row.work.samples) == geometry.chunk_samples(is_first=is_first)
            if has_phrases:
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


LANES = {Lane(chunk_frames, decoder) for chunk_frames in (1, 7) for decoder in DecoderKind}


def assert_left(backend: RecordingBackend, *sizes: int) -> None:
    """Assert that these sizes are left, that all lanes' were timed, and that nothing stays."""
    assert backend.batch_sizes == sizes
    assert set(backend.step_seconds) == LANES
    assert all(tuple(sorted(alone_s)) == sizes for alone_s in backend.step_seconds.values())
    assert not backend.trees
    assert not backend.loaded


@pytest.mark.parametrize("is_on_gpu", [True, False])
def test_sizes_that_find_no_memory_are_dropped(
    is_on_gpu: bool, caplog: pytest.LogCaptureFixture
) -> None:
    backend = RecordingBackend(is_on_gpu=is_on_gpu, most_rows=3)
    warm_up(backend)  # type: ignore[arg-type]
    assert_left(backend, 1, 2)
    [record] = caplog.records
    assert record.levelname == "WARNING"
    assert "steps of recording take at most 2" in record.message


@pytest.mark.parametrize("is_on_gpu", [True, False])
def test_what_one_lane_has_no_memory_for_is_no_size_of_any(is_on_gpu: bool) -> None:
    backend = RecordingBackend(is_on_gpu=is_on_gpu, narrow=Lane(7, tuple(DecoderKind)[-1]))
    warm_up(backend)  # type: ignore[arg-type]
    assert_left(backend, 1)


def test_steps_with_phrases_may_need_more() -> None:
    backend = RecordingBackend(is_on_gpu=True, most_with_phrases=2)
    warm_up(backend)  # type: ignore[arg-type]
    assert_left(backend, 1, 2)
    assert {size for _, _, size in backend.with_phrases} == {2}


@pytest.mark.parametrize(("most_rows", "most_with_phrases"), [(0, 0), (4, 0)])
def test_a_model_that_finds_no_memory_for_one_row_is_not_served(
    most_rows: int, most_with_phrases: int
) -> None:
    backend = RecordingBackend(
        is_on_gpu=True, most_rows=most_rows, most_with_phrases=most_with_phrases
    )
    with pytest.raises(OutOfMemory):
        warm_up(backend)  # type: ignore[arg-type]
    assert not backend.trees
    assert not backend.loaded

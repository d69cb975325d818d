from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from siren_grpc.audio.chunker import Chunker, CutChunk
from siren_grpc.domain.geometry import BufferedContext
from tests.support.builders import FEATURES, make_buffered_geometry, make_geometry

LOOK_AHEADS = [1, 2, 7, 14]


def ramp(n_samples: int) -> np.ndarray:
    return np.arange(n_samples, dtype=np.float32)


def cut_all(
    chunk_frames: int, n_samples: int, sizes: list[int], padding: int = 0
) -> list[CutChunk]:
    chunker = Chunker(make_geometry(chunk_frames))
    chunks, start = [], 0
    for size in [*sizes, n_samples]:
        chunks.extend(chunker.push(ramp(n_samples)[start : start + size]))
        start += size
    return [*chunks, *chunker.flush(padding_samples=padding)]


@given(
    st.sampled_from(LOOK_AHEADS),
    st.integers(0, 40_000),
    st.lists(st.integers(0, 20_000), max_size=10),
    st.integers(0, 9000),
)
def test_chunks_tile_the_stream(
    chunk_frames: int, n_samples: int, sizes: list[int], padding: int
) -> None:
    chunks = cut_all(chunk_frames, n_samples, sizes, padding)
    expected = np.concatenate([ramp(n_samples), np.zeros(padding, "f4")]) if n_samples else ramp(0)
    joined = np.concatenate([ramp(0), *(chunk.samples for chunk in chunks)])
    # Samples too few for one more feature frame are behind the last chunk, as in NeMo.
    assert len(expected) - len(joined) < make_geometry(chunk_frames).features.hop_samples + 200
    np.testing.assert_array_equal(joined, expected[: len(joined)])
    frames = sum(chunk.feature_frames for chunk in chunks)
    assert frames == FEATURES.total_feature_frames(len(expected))
    assert [chunk.is_first for chunk in chunks] == [True, *[False] * 99][: len(chunks)]
    ends = np.cumsum([len(chunk.samples) for chunk in chunks])
    assert [chunk.end_samples for chunk in chunks] == list(ends)


@given(
    st.sampled_from(LOOK_AHEADS), st.integers(0, 30_000), st.lists(st.integers(0, 9000), max_size=9)
)
def test_cutting_does_not_matter(chunk_frames: int, n_samples: int, sizes: list[int]) -> None:
    pieces = cut_all(chunk_frames, n_samples, sizes)
    at_once = cut_all(chunk_frames, n_samples, [])
    assert len(pieces) == len(at_once)
    for one, other in zip(pieces, at_once, strict=True):
        np.testing.assert_array_equal(one.samples, other.samples)
        assert one.feature_frames == other.feature_frames


@pytest.mark.parametrize("chunk_frames", LOOK_AHEADS)
def test_a_chunk_is_cut_with_the_sample_that_completes_it(chunk_frames: int) -> None:
    geometry = make_geometry(chunk_frames)
    chunker = Chunker(geometry)
    needed = geometry.chunk_samples(is_first=True)
    assert chunker.push(ramp(needed - 1)) == []
    assert len(chunker.push(ramp(1))) == 1
    assert chunker.held_samples == 0


def test_a_preview_shows_the_incomplete_chunk_and_keeps_it() -> None:
    chunker = Chunker(make_geometry(7))
    assert chunker.preview() is None
    chunker.push(ramp(199))
    assert chunker.preview() is None
    chunker.push(ramp(1801))
    preview = chunker.preview()
    assert preview is not None
    assert preview.is_first
    assert len(preview.samples) == 2000
    assert preview.feature_frames == FEATURES.complete_feature_frames(2000)
    assert chunker.held_samples == 2000
    chunks = chunker.flush(padding_samples=0)
    assert sum(len(chunk.samples) for chunk in chunks) == 2000


def test_an_empty_utterance_has_no_chunk_not_even_of_padding() -> None:
    assert Chunker(make_geometry()).flush(padding_samples=8000) == []


def test_flush_and_reset_start_a_new_utterance() -> None:
    chunker = Chunker(make_geometry())
    chunker.push(ramp(10_000))
    chunker.flush(padding_samples=0)
    again = [*chunker.push(ramp(10_000)), *chunker.flush(padding_samples=0)]
    assert again[0].is_first
    assert again[-1].end_samples == 10_000
    chunker.push(ramp(9999))
    chunker.reset()
    assert chunker.held_samples == 0
    assert chunker.flush(padding_samples=100) == []


class TestRightContext:
    GEOMETRY = make_buffered_geometry(
        BufferedContext(left_frames=4, chunk_frames=3, right_frames=2)
    )

    @given(
        st.integers(160, 40_000), st.lists(st.integers(0, 9000), max_size=9), st.integers(0, 5000)
    )
    def test_chunks_tile_the_stream_and_just_the_last_is_last(
        self, n_samples: int, sizes: list[int], padding: int
    ) -> None:
        chunker = Chunker(self.GEOMETRY)
        chunks, start = [], 0
        for size in [*sizes, n_samples]:
            chunks.extend(chunker.push(ramp(n_samples)[start : start + size]))
            start += size
        chunks.extend(chunker.flush(padding_samples=padding))
        expected = np.concatenate([ramp(n_samples), np.zeros(padding, "f4")])
        joined = np.concatenate([chunk.samples for chunk in chunks])
        np.testing.assert_array_equal(joined, expected)
        assert [chunk.is_last for chunk in chunks] == [*[False] * (len(chunks) - 1), True]
        assert [chunk.is_first for chunk in chunks] == [True, *[False] * (len(chunks) - 1)]
        whole = [len(chunk.samples) for chunk in chunks[:-1]]
        assert whole == [5 * 1280, *[3 * 1280] * 99][: len(whole)]
        frames = sum(chunk.feature_frames for chunk in chunks)
        assert frames == FEATURES.total_feature_frames(len(expected))

    def test_an_end_right_behind_a_chunk_still_ends_its_right_context(self) -> None:
        chunker = Chunker(self.GEOMETRY)
        [first] = chunker.push(ramp(5 * 1280))
        assert not first.is_last
        [last] = chunker.flush(padding_samples=0)
        assert last.is_last
        assert len(last.samples) == 0
        assert last.feature_frames == 0
        assert last.end_samples == 5 * 1280

    def test_too_little_for_a_feature_frame_is_no_utterance(self) -> None:
        chunker = Chunker(self.GEOMETRY)
        chunker.push(ramp(100))
        assert chunker.flush(padding_samples=0) == []

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.builders import FEATURES, make_geometry


def frames_within(n_samples: int) -> int:
    """Count by definition: windows of 400 centred on every 160th sample that end in time."""
    return sum(1 for centre in range(0, n_samples + 400, 160) if centre + 200 <= n_samples)


@given(st.integers(0, 5000))
def test_complete_feature_frames_are_those_whose_window_is_there(n_samples: int) -> None:
    assert FEATURES.complete_feature_frames(n_samples) == frames_within(n_samples)


@given(st.integers(0, 100_000))
def test_the_end_of_the_stream_only_adds_frames(n_samples: int) -> None:
    assert FEATURES.total_feature_frames(n_samples) >= FEATURES.complete_feature_frames(n_samples)


@pytest.mark.parametrize("chunk_frames", [1, 2, 4, 7, 14])
def test_a_chunk_holds_just_the_samples_its_frames_need(chunk_frames: int) -> None:
    geometry = make_geometry(chunk_frames)
    first = geometry.chunk_samples(is_first=True)
    frames = geometry.feature_frames(is_first=True)
    assert FEATURES.complete_feature_frames(first) == frames
    assert FEATURES.complete_feature_frames(first - 1) == frames - 1
    second = first + geometry.chunk_samples(is_first=False)
    both = frames + geometry.feature_frames(is_first=False)
    assert FEATURES.complete_feature_frames(second) == both
    assert FEATURES.complete_feature_frames(second - 1) == both - 1


@pytest.mark.parametrize(
    ("chunk_frames", "first", "others"), [(1, 1, 8), (2, 9, 16), (7, 49, 56), (14, 105, 112)]
)
def test_chunks_are_nemos(chunk_frames: int, first: int, others: int) -> None:
    """NeMo's `streaming_cfg.chunk_size` of the look-aheads 0, 1, 6 and 13."""
    geometry = make_geometry(chunk_frames)
    assert geometry.feature_frames(is_first=True) == first
    assert geometry.feature_frames(is_first=False) == others


@pytest.mark.parametrize(("chunk_frames", "latency_ms"), [(1, 80), (2, 160), (7, 560), (14, 1120)])
def test_latency_is_80_ms_an_encoder_frame(chunk_frames: int, latency_ms: int) -> None:
    assert make_geometry(chunk_frames).latency_ms == latency_ms
    assert FEATURES.encoder_frame_ms == 80


def test_milliseconds_are_rounded_down() -> None:
    assert FEATURES.samples_of_ms(1) == 16
    assert FEATURES.samples_of_ms(0) == 0

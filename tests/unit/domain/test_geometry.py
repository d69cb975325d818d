from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from siren_grpc.domain.geometry import BufferedContext, BufferedSeconds
from tests.support.builders import FEATURES, make_buffered_geometry, make_geometry, make_info


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


class TestBuffered:
    def test_the_first_chunk_brings_its_right_context_along(self) -> None:
        geometry = make_buffered_geometry(BufferedContext(10, 3, 2))
        assert geometry.feature_frames(is_first=True) == 5 * 8
        assert geometry.feature_frames(is_first=False) == 3 * 8
        assert geometry.chunk_samples(is_first=True) == 5 * 1280
        assert geometry.chunk_samples(is_first=False) == 3 * 1280

    def test_latency_is_chunk_and_right_context(self) -> None:
        assert make_buffered_geometry(BufferedContext(125, 25, 25)).latency_ms == 4000
        assert make_buffered_geometry(BufferedContext(25, 3, 3)).latency_ms == 480
        assert make_geometry(7).right_frames == 0

    @pytest.mark.parametrize(
        ("seconds", "frames"),
        [
            ((10.0, 2.0, 2.0), (125, 25, 25)),
            ((5.0, 0.5, 0.5), (62, 6, 6)),
            ((2.0, 0.25, 0.25), (25, 3, 3)),
            ((0.0, 0.04001, 0.0), (0, 1, 0)),
        ],
    )
    def test_seconds_are_rounded_to_whole_encoder_frames(
        self, seconds: tuple[float, float, float], frames: tuple[int, int, int]
    ) -> None:
        context = BufferedSeconds(*seconds).in_frames(FEATURES)
        assert context == BufferedContext(*frames)
        assert context.total_frames == sum(frames)

    @pytest.mark.parametrize("seconds", [(1.0, 0.01, 1.0), (-1.0, 1.0, 1.0), (1.0, 1.0, -0.1)])
    def test_windows_that_cannot_be_are_refused(self, seconds: tuple[float, float, float]) -> None:
        with pytest.raises(ValueError, match="cannot be streamed"):
            BufferedSeconds(*seconds).in_frames(FEATURES)

    def test_a_model_has_the_geometry_of_its_windows(self) -> None:
        windows = (BufferedContext(10, 3, 2), BufferedContext(20, 5, 5))
        info = make_info(look_aheads=(3, 5), buffered=windows)
        assert info.geometry(5) == make_buffered_geometry(windows[1])
        assert info.geometry(3).right_frames == 2

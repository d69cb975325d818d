from __future__ import annotations

import pytest

from siren_grpc.bench.statistics import (
    distribution,
    paired_ratio,
    percentile,
    real_time_streams,
)


@pytest.mark.parametrize(("percent", "expected"), [(0, 1), (50, 5), (95, 10), (99, 10), (100, 10)])
def test_percentile_is_a_value_that_was_measured(percent: float, expected: float) -> None:
    assert percentile([10, 1, 9, 2, 8, 3, 7, 4, 6, 5], percent) == expected


def test_percentile_of_one_value_is_that_value() -> None:
    assert percentile([3.5], 99) == 3.5


def test_percentile_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no values"):
        percentile([], 50)


def test_distribution_names_median_and_tails() -> None:
    found = distribution([float(i) for i in range(1, 101)])
    assert found is not None
    assert (found.n, found.mean, found.p50, found.p95, found.p99, found.max) == (
        100,
        50.5,
        50,
        95,
        99,
        100,
    )
    assert distribution([]) is None


def test_paired_ratio_forgets_noise_that_hits_both() -> None:
    ours = [1.0, 1.0, 50.0, 1.0, 1.0]
    theirs = [2.0, 2.0, 100.0, 2.0, 2.0]
    assert paired_ratio(ours, theirs) == 2
    assert paired_ratio(ours, theirs[:2]) == 2
    assert paired_ratio(ours, []) is None


def test_real_time_streams_is_audio_stepped_in_a_second() -> None:
    # 16 streams advance by 0.5 s each in 0.1 s: 80 s of audio a second.
    assert real_time_streams(16, 0.5, 0.1) == pytest.approx(80)

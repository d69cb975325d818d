from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siren_grpc.audio.resample import Resampler

RATES = [8000, 11025, 22050, 44100, 48000]


def tone(hertz: int, seconds: float = 0.5) -> np.ndarray:
    return np.sin(2 * np.pi * 440 * np.arange(int(hertz * seconds)) / hertz).astype("f4")


def resample(hertz: int, samples: np.ndarray, sizes: list[int]) -> np.ndarray:
    resampler = Resampler(hertz, 16000)
    parts, start = [], 0
    for size in sizes:
        parts.append(resampler.push(samples[start : start + size]))
        start += size
    parts.extend([resampler.push(samples[start:]), resampler.flush()])
    return np.concatenate(parts)


@settings(max_examples=25)
@given(st.sampled_from(RATES), st.lists(st.integers(0, 3000), max_size=20))
def test_cutting_does_not_matter_to_the_last_bit(hertz: int, sizes: list[int]) -> None:
    samples = tone(hertz)
    np.testing.assert_array_equal(resample(hertz, samples, sizes), resample(hertz, samples, []))


@pytest.mark.parametrize("hertz", RATES)
def test_a_tone_stays_the_tone_and_in_time(hertz: int) -> None:
    converted = resample(hertz, tone(hertz), [])
    expected = tone(16000)[: len(converted)]
    middle = slice(800, len(converted) - 800)
    np.testing.assert_allclose(converted[middle], expected[middle], atol=2e-3)


@pytest.mark.parametrize("hertz", [*RATES, 16000])
def test_the_output_is_as_long_as_what_it_consumed(hertz: int) -> None:
    samples = tone(hertz)
    converted = resample(hertz, samples, [])
    assert abs(len(samples) * 16000 / hertz - len(converted)) <= 1
    resampler = Resampler(hertz, 16000)
    for n_output in (0, 1, 159, 160, 16000):
        n_input = resampler.consumed(n_output)
        assert n_input * 16000 <= n_output * hertz < (n_input + 1) * 16000


def test_equal_rates_pass_through_untouched() -> None:
    resampler = Resampler(16000, 16000)
    samples = tone(16000)
    assert resampler.push(samples) is samples
    assert len(resampler.flush()) == 0


def test_flush_starts_afresh() -> None:
    resampler = Resampler(8000, 16000)
    samples = tone(8000)
    runs = []
    for _ in range(2):
        runs.append(np.concatenate([resampler.push(samples), resampler.flush()]))
    np.testing.assert_array_equal(*runs)
    assert len(resampler.flush()) == 0

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


@pytest.mark.parametrize("n_samples", [1, 7, 100, 129, 1000, 8001])
@pytest.mark.parametrize("hertz", [*RATES, 12345, 44101])
def test_the_shortest_audio_is_whole(hertz: int, n_samples: int) -> None:
    resampler = Resampler(hertz, 16000)
    ones = np.ones(n_samples, np.float32)
    for _ in range(2):
        converted = np.concatenate([resampler.push(ones), resampler.flush()])
        assert len(converted) == resampler.produced(n_samples)
        # As much of it as the filter's edge lets out of so little.
        assert converted.sum() * hertz / 16000 == pytest.approx(n_samples, rel=0.15, abs=0.6)


@pytest.mark.parametrize(("hertz", "most_ms"), [(8000, 6), (16001, 4), (24000, 3), (48000, 3)])
def test_live_speech_is_held_back_by_half_a_filter(hertz: int, most_ms: int) -> None:
    resampler = Resampler(hertz, 16000)
    n_input = n_output = 0
    for _ in range(20):
        n_input += hertz // 50
        n_output += len(resampler.push(np.zeros(hertz // 50, np.float32)))
        assert 0 <= n_input * 16000 / hertz - n_output <= 16 * most_ms + 1


@pytest.mark.parametrize(("hertz", "heard"), [(8000, 3600), (44100, 7000), (48000, 7000)])
def test_the_band_is_kept_and_nothing_is_mirrored_into_it(hertz: int, heard: int) -> None:
    def loudness(at_hertz: float, tones_hertz: float) -> float:
        times = np.arange(hertz) / hertz
        converted = resample(hertz, np.sin(2 * np.pi * tones_hertz * times).astype("f4"), [])
        middle = converted[4000:12000] * np.blackman(8000)
        spectrum = np.abs(np.fft.rfft(middle))
        return float(20 * np.log10(spectrum[round(at_hertz / 2)] / (8000 * 0.42 / 2)))

    assert loudness(heard, heard) == pytest.approx(0, abs=0.3)
    # Its image behind 4 kHz, or what it would be heard as if nothing beyond 8 kHz were left out.
    image, came_from = (8000 - heard, heard) if hertz == 8000 else (heard, 16000 - heard)
    assert loudness(image, came_from) < -70


@pytest.mark.parametrize("hertz", [*RATES, 16000])
def test_the_output_is_as_long_as_what_it_consumed(hertz: int) -> None:
    samples = tone(hertz)
    converted = resample(hertz, samples, [])
    resampler = Resampler(hertz, 16000)
    assert len(converted) == resampler.produced(len(samples))
    for n_output in (0, 1, 159, 160, 16000):
        n_input = resampler.consumed(n_output)
        assert n_input * 16000 <= n_output * hertz < (n_input + 1) * 16000


def test_one_channel_of_several_is_heard_where_it_lies() -> None:
    both = np.stack([tone(8000), -tone(8000)], axis=1)
    np.testing.assert_array_equal(resample(8000, both[:, 0], [80]), resample(8000, tone(8000), []))


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

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from siren_grpc.audio.decode import AudioDecoder, Encoding, to_samples, up_to_fault
from siren_grpc.domain.errors import InvalidAudio, Reason


def decode(encoding: Encoding, data: bytes, cuts: list[int] | None = None) -> np.ndarray:
    decoder = AudioDecoder(encoding)
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts or []), len(data)]
    parts = [decoder.push(data[a:b]) for a, b in itertools.pairwise(edges)]
    if decoder.fault is not None:
        raise decoder.fault
    return np.concatenate(parts)


def mulaw_of(code: int) -> int:
    """Expand by ITU-T G.711: complement, sign, 3-bit segment, 4-bit step, bias 33 (times 4)."""
    code = ~code & 0xFF
    magnitude = ((2 * (code & 0x0F) + 33) << ((code >> 4) & 7)) - 33
    return (-magnitude if code & 0x80 else magnitude) * 4


def alaw_of(code: int) -> int:
    """Expand by ITU-T G.711: even bits inverted, sign, 3-bit segment, 4-bit step (times 8)."""
    code ^= 0x55
    segment, step = (code >> 4) & 7, code & 0x0F
    magnitude = 2 * step + 1 if segment == 0 else (2 * step + 33) << (segment - 1)
    return (magnitude if code & 0x80 else -magnitude) * 8


@pytest.mark.parametrize(
    ("encoding", "expand"), [(Encoding.MULAW, mulaw_of), (Encoding.ALAW, alaw_of)]
)
def test_g711_tables(encoding: Encoding, expand: object) -> None:
    expected = np.array([expand(code) for code in range(256)]) / 32768  # type: ignore[operator]
    np.testing.assert_array_equal(decode(encoding, bytes(range(256))), expected.astype("f4"))


@pytest.mark.parametrize(
    ("encoding", "code", "value"),
    [
        (Encoding.MULAW, 0x00, -32124),
        (Encoding.MULAW, 0x80, 32124),
        (Encoding.MULAW, 0xFF, 0),
        (Encoding.ALAW, 0x2A, -32256),
        (Encoding.ALAW, 0xAA, 32256),
        (Encoding.ALAW, 0xD5, 8),
    ],
)
def test_g711_known_points(encoding: Encoding, code: int, value: int) -> None:
    assert decode(encoding, bytes([code]))[0] == np.float32(value / 32768)


def test_linear16_full_scale() -> None:
    data = np.array([-32768, -1, 0, 1, 32767], "<i2").tobytes()
    expected = np.array([-1, -1 / 32768, 0, 1 / 32768, 32767 / 32768], "f4")
    np.testing.assert_array_equal(decode(Encoding.LINEAR16, data), expected)


def test_float32_is_taken_as_it_is() -> None:
    values = np.array([-1.5, -1, 0.25, 1e-30], "<f4")
    np.testing.assert_array_equal(decode(Encoding.FLOAT32, values.tobytes()), values)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_float32_that_is_no_number_is_refused(value: float) -> None:
    with pytest.raises(InvalidAudio, match="NaN or infinity") as caught:
        decode(Encoding.FLOAT32, np.array([0, value], "<f4").tobytes())
    assert caught.value.reason is Reason.INVALID_AUDIO


@pytest.mark.parametrize("value", [3.4e38, -1e30, 65537])
def test_float32_that_would_overflow_is_refused(value: float) -> None:
    with pytest.raises(InvalidAudio, match="a sample beyond all measure"):
        decode(Encoding.FLOAT32, np.array([0, value], "<f4").tobytes())
    unscaled = np.array([-32768, 32767], "<f4")
    np.testing.assert_array_equal(decode(Encoding.FLOAT32, unscaled.tobytes()), unscaled)


@given(
    st.sampled_from([Encoding.LINEAR16, Encoding.MULAW, Encoding.ALAW]),
    st.binary(max_size=400),
    st.lists(st.integers(0, 400), max_size=12),
)
def test_cutting_does_not_matter(encoding: Encoding, data: bytes, cuts: list[int]) -> None:
    np.testing.assert_array_equal(decode(encoding, data, cuts), decode(encoding, data))


@given(st.lists(st.floats(-1, 1, width=32), max_size=40), st.lists(st.integers(0, 160)))
def test_cutting_float32_does_not_matter(values: list[float], cuts: list[int]) -> None:
    data = np.array(values, "<f4").tobytes()
    np.testing.assert_array_equal(decode(Encoding.FLOAT32, data, cuts), np.array(values, "f4"))


def test_a_split_sample_is_known_until_its_rest_comes() -> None:
    decoder = AudioDecoder(Encoding.LINEAR16)
    assert len(decoder.push(b"\x01")) == 0
    assert decoder.has_split_sample
    assert decoder.push(b"\x00")[0] == np.float32(1 / 32768)
    assert not decoder.has_split_sample


@pytest.mark.parametrize("at", [0, 1, 5, 9])
def test_what_comes_before_a_bad_sample_is_heard(at: int) -> None:
    samples = np.linspace(-1, 1, 10, dtype="<f4")
    samples[at] = np.nan
    heard, error = up_to_fault(
        lambda data: to_samples(Encoding.FLOAT32, data), samples.tobytes(), 4
    )
    assert error is not None
    np.testing.assert_array_equal(heard, samples[:at])

"""Bytes of raw PCM to float samples, a split sample carried over; and what else there is."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from functools import partial

import numpy as np

from siren_grpc.domain.errors import InvalidAudio
from siren_grpc.domain.work import Samples


class Encoding(str, Enum):
    """How the client's bytes are to be read."""

    LINEAR16 = "LINEAR16"
    FLOAT32 = "FLOAT32"
    MULAW = "MULAW"
    ALAW = "ALAW"
    AUTO = "AUTO"
    """Whichever of the following it begins as, else LINEAR16."""
    WAV = "WAV"
    FLAC = "FLAC"
    OGG_OPUS = "OGG_OPUS"
    WEBM_OPUS = "WEBM_OPUS"
    MP3 = "MP3"

    @property
    def is_raw(self) -> bool:
        """Whether it is samples alone; other audio says its rate and channels itself."""
        return self in _SAMPLE_BYTES

    @property
    def sample_bytes(self) -> int:
        """Bytes of one raw sample. Raises KeyError for encodings that are not raw."""
        return _SAMPLE_BYTES[self]


_LOUDEST = 65536.0
"""Louder FLOAT32 audio is none: twice what 16-bit samples are that nobody has scaled."""
_SAMPLE_BYTES = {Encoding.LINEAR16: 2, Encoding.FLOAT32: 4, Encoding.MULAW: 1, Encoding.ALAW: 1}


def _mulaw_table() -> Samples:
    """Build the 256 values of G.711 mu-law (ITU-T G.711, table 2a; 14-bit, scaled to 16)."""
    code = ~np.arange(256, dtype=np.int32) & 0xFF
    magnitude = ((((code & 0x0F) << 3) + 0x84) << ((code & 0x70) >> 4)) - 0x84
    return (np.where(code & 0x80, -magnitude, magnitude) / 32768.0).astype(np.float32)


def _alaw_table() -> Samples:
    """Build the 256 values of G.711 A-law (ITU-T G.711, table 1a; 13-bit, scaled to 16)."""
    code = np.arange(256, dtype=np.int32) ^ 0x55
    exponent = (code & 0x70) >> 4
    mantissa = (code & 0x0F) << 4
    magnitude = np.where(
        exponent == 0, mantissa + 8, (mantissa + 0x108) << np.maximum(exponent - 1, 0)
    )
    return (np.where(code & 0x80, magnitude, -magnitude) / 32768.0).astype(np.float32)


_COMPANDED = {Encoding.MULAW: _mulaw_table(), Encoding.ALAW: _alaw_table()}


def to_samples(encoding: Encoding, data: bytes) -> Samples:
    """Decode whole samples of a raw encoding.

    Returns [n_samples] float32 in [-1, 1] (FLOAT32 as sent). Raises InvalidAudio for FLOAT32
    samples that are not finite numbers, or so large that a model's arithmetic would overflow.
    """
    if encoding is Encoding.LINEAR16:
        pcm = np.frombuffer(data, dtype="<i2").astype(np.float32)
        samples: Samples = pcm * np.float32(1 / 32768)
        return samples
    if encoding is Encoding.FLOAT32:
        samples = np.frombuffer(data, dtype="<f4").astype(np.float32)
        if not (np.abs(samples) <= _LOUDEST).all():  # nor is NaN
            found = (
                "a sample beyond all measure" if np.isfinite(samples).all() else "NaN or infinity"
            )
            raise InvalidAudio(
                f"FLOAT32 audio holds {found}; samples must be finite numbers in [-1, 1]. Is the "
                "audio really 32-bit little-endian float?"
            )
        return samples
    return _COMPANDED[encoding][np.frombuffer(data, dtype=np.uint8)]


def up_to_fault(
    decode: Callable[[bytes], Samples], data: bytes, width: int
) -> tuple[Samples, InvalidAudio | None]:
    """Decode bytes up to those that do not decode; return the samples, and the fault behind them.

    width: bytes that are decoded together, of which the data are a multiple. What lies behind the
    fault changes nothing (promise 3).
    """
    try:
        return decode(data), None
    except InvalidAudio:
        sound, broken = 0, len(data) // width
    while broken - sound > 1:
        middle = (sound + broken) // 2
        try:
            decode(data[sound * width : middle * width])
            sound = middle
        except InvalidAudio:
            broken = middle
    try:
        decode(data[sound * width : broken * width])
    except InvalidAudio as error:
        return decode(data[: sound * width]), error
    raise AssertionError("what does not decode with others does not decode alone")


class AudioDecoder:
    """Decodes one stream of raw PCM; messages may cut a sample anywhere."""

    def __init__(self, encoding: Encoding, n_channels: int = 1) -> None:
        """Start at the beginning of a stream. n_channels: interleaved."""
        self._encoding = encoding
        self._frame_bytes = encoding.sample_bytes * n_channels
        self._split = b""
        self.fault: InvalidAudio | None = None
        """Why nothing follows what was decoded."""

    @property
    def has_split_sample(self) -> bool:
        """Whether the bytes so far end within a sample, or between those of two channels."""
        return bool(self._split)

    def push(self, data: bytes) -> Samples:
        """Decode the samples that are now complete, those of all channels.

        data: any number of bytes. Returns [n_samples * n_channels]: those before a fault, which
        `fault` tells then; see `to_samples`.
        """
        if self._split:
            data = self._split + data
        split = len(data) % self._frame_bytes
        if split:
            self._split = data[-split:]
            data = data[:-split]
        else:
            self._split = b""
        samples, self.fault = up_to_fault(
            partial(to_samples, self._encoding), data, self._frame_bytes
        )
        return samples

"""Bytes in a declared encoding to float samples, a split sample carried over."""

from __future__ import annotations

from enum import Enum

import numpy as np

from siren_grpc.domain.errors import InvalidAudio
from siren_grpc.domain.types import Samples


class Encoding(str, Enum):
    """How the client's bytes are to be read."""

    LINEAR16 = "LINEAR16"
    FLOAT32 = "FLOAT32"
    MULAW = "MULAW"
    ALAW = "ALAW"

    @property
    def sample_bytes(self) -> int:
        """Bytes of one sample."""
        return _SAMPLE_BYTES[self]


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


class AudioDecoder:
    """Decodes one stream; messages may cut a sample anywhere."""

    def __init__(self, encoding: Encoding) -> None:
        """Start at the beginning of a stream in this encoding."""
        self._encoding = encoding
        self._split = b""

    @property
    def has_split_sample(self) -> bool:
        """Whether the bytes so far end within a sample."""
        return bool(self._split)

    def push(self, data: bytes) -> Samples:
        """Decode the samples that are now complete.

        data: any number of bytes. Returns [n_samples] float32 in [-1, 1] (FLOAT32 as sent).
        Raises InvalidAudio for FLOAT32 samples that are not finite numbers.
        """
        width = self._encoding.sample_bytes
        if self._split:
            data = self._split + data
        whole = len(data) - len(data) % width
        self._split = data[whole:]
        if self._encoding is Encoding.LINEAR16:
            pcm = np.frombuffer(data, dtype="<i2", count=whole // 2).astype(np.float32)
            samples: Samples = pcm * np.float32(1 / 32768)
            return samples
        if self._encoding is Encoding.FLOAT32:
            samples = np.frombuffer(data, dtype="<f4", count=whole // 4).astype(np.float32)
            if not np.isfinite(samples).all():
                raise InvalidAudio(
                    "FLOAT32 audio holds NaN or infinity; samples must be finite numbers in "
                    "[-1, 1]. Is the audio really 32-bit little-endian float?"
                )
            return samples
        codes = np.frombuffer(data, dtype=np.uint8, count=whole)
        return _COMPANDED[self._encoding][codes]

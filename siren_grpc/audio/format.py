"""What parsers of containers and of compressed audio have in common."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

_T = TypeVar("_T")
Block: TypeAlias = NDArray[np.float32]
"""Samples of all channels, [n_samples, n_channels], in [-1, 1], at the stream's own rate."""


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """What the head of a stream says.

    name: what it is, for people. other_hertz: rates it may also be called by.
    """

    name: str
    sample_rate_hertz: int
    n_channels: int
    other_hertz: tuple[int, ...] = ()


Parser: TypeAlias = Generator[AudioFormat | Block | None, None, _T]
"""Reads a `ByteStream`: the format first, then audio, and None whenever it needs more bytes."""


def named(head: bytes) -> str:
    """Say what a stream's first bytes look like, for an error."""
    if not head:
        return "nothing"
    for magic, name in _MAGIC:
        if head.startswith(magic):
            return name
    if len(head) > 1 and head[0] == 0xFF and head[1] & 0xE6 == 0xE2:
        return "MP3"
    if all(32 <= byte < 127 or byte in b"\t\r\n" for byte in head):
        return f"text ({head.decode('ascii')!r})"
    return f"bytes {head.hex(' ')}"


_MAGIC = (
    (b"RIFF", "a RIFF file (WAV)"),
    (b"RIFX", "a big-endian RIFX file"),
    (b"RF64", "an RF64 file (WAV)"),
    (b"FORM", "an AIFF file"),
    (b"fLaC", "FLAC"),
    (b"OggS", "Ogg"),
    (b"\x1a\x45\xdf\xa3", "WebM or Matroska"),
    (b"ID3", "MP3 (an ID3 tag)"),
    (b"#!AMR", "AMR"),
    (b".snd", "a Sun AU file"),
)

"""WAV files whose header does not say how long they are, or not the truth."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

_RIFF_BYTES = 12
_FMT_BYTES = 16


def unfinished_wav_s(path: Path) -> float | None:
    """Return the seconds of audio that are in a WAV file whose header is wrong about them.

    That is one that was written live, its length still 0 or the largest possible, and one that was
    cut off. None for every other file, also one that is no WAV or cannot be read.
    """
    try:
        with path.open("rb") as file:
            return _read_unfinished(file, n_bytes=path.stat().st_size)
    except (OSError, struct.error):  # a header that ends is libsndfile's to complain of
        return None


def _read_unfinished(file: BinaryIO, *, n_bytes: int) -> float | None:
    riff, riff_bytes, wave = struct.unpack("<4sI4s", file.read(_RIFF_BYTES))
    if riff != b"RIFF" or wave != b"WAVE":
        return None
    second_bytes = 0
    position = _RIFF_BYTES
    while True:
        file.seek(position)
        chunk, size = struct.unpack("<4sI", file.read(8))
        position += 8
        if chunk == b"fmt ":
            _, _, hertz, _, frame_bytes, _ = struct.unpack("<HHIIHH", file.read(_FMT_BYTES))
            second_bytes = hertz * frame_bytes
        elif chunk == b"data":
            there = n_bytes - position
            # A recording of nothing may have chunks behind it, which a finished header counts.
            is_live = size == 0 and there > 0 and riff_bytes + 8 != n_bytes
            return there / second_bytes if second_bytes and (is_live or size > there) else None
        position += size + size % 2

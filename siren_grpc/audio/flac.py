"""FLAC, native (RFC 9639); each frame is decoded when its last byte has come."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from siren_grpc.audio.byte_stream import Awaits, ByteStream
from siren_grpc.audio.codec import Codec, PacketError
from siren_grpc.audio.crc import flac_crc
from siren_grpc.audio.format import AudioFormat, Block, Parser, named
from siren_grpc.audio.id3 import skip_id3
from siren_grpc.domain.errors import InvalidAudio

STREAMINFO_BYTES = 34
_STREAMINFO, _FORBIDDEN = 0, 127
_SYNCS = (b"\xff\xf8", b"\xff\xf9")  # blocks of one size, of any size
_MOST_FRAME_HEAD_BYTES = 64
_CRC_POLYNOMIAL = 0x18005
_CRC_BLOCK_BYTES = 512
_MOST_TRIALS = 100
"""Of a frame: its CRC is 0 by chance at one byte in 65,536, but for bytes made to cost time."""
_ID3V1_BYTES = 128
_PADDING_BYTES = 4096
"""Looked at at once."""


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """The first metadata block of every FLAC stream."""

    data: bytes
    hertz: int
    n_channels: int
    n_samples: int
    """0 for unknown."""
    most_frame_bytes: int
    """No frame is longer: one that grows beyond it is damaged."""

    @classmethod
    def of(cls, data: bytes) -> StreamInfo:
        """Read it. data: its 34 bytes."""
        block_samples = int.from_bytes(data[2:4], "big")
        packed = int.from_bytes(data[10:18], "big")
        n_channels = (packed >> 41 & 7) + 1
        bits = (packed >> 36 & 31) + 1
        # Verbatim samples are the worst an encoder may choose; a side channel has a bit more.
        most = n_channels * (block_samples * (bits + 1) // 8 + 8) + _MOST_FRAME_HEAD_BYTES
        return cls(data, packed >> 44, n_channels, packed & (1 << 36) - 1, most)

    @property
    def format(self) -> AudioFormat:
        """What it says of the stream."""
        return AudioFormat("FLAC", self.hertz, self.n_channels)


class FlacFrames:
    """Decodes frames; also those of Ogg, whose packets they are."""

    def __init__(self, info: StreamInfo) -> None:
        """Start before the first."""
        self._codec = Codec("flac", hertz=info.hertz, n_channels=info.n_channels, head=info.data)

    def decode(self, frame: bytes) -> Block:
        """Decode a whole frame. Raises PacketError for one that is not."""
        if not frame.startswith(_SYNCS):
            raise PacketError("it does not begin with a frame's sync code")
        block = self._codec.decode(frame)
        if not len(block):
            raise PacketError("it holds no samples")
        return block


def parse_flac(stream: ByteStream) -> Parser[None]:
    """Read a FLAC stream; behind its last sample there may be an ID3v1 tag and padding."""
    yield from skip_id3(stream)
    head = yield from stream.peek(4)
    if head != b"fLaC":
        raise InvalidAudio(f"not a FLAC stream: it begins with {named(head)}")
    yield from stream.skip(4, "the FLAC header")
    info = yield from _metadata(stream)
    yield info.format
    frames = FlacFrames(info)
    n_samples = 0
    while not (yield from stream.is_at_end()):
        if n_samples >= info.n_samples and (yield from _skip_tail(stream)):
            continue
        block = yield from _frame(stream, frames, info)
        n_samples += len(block)
        yield block
    if n_samples < info.n_samples:
        raise InvalidAudio(
            f"the FLAC stream ends after {n_samples} of the {info.n_samples} samples its header "
            "says: it is truncated; send all of it"
        )


def _metadata(stream: ByteStream) -> Awaits[StreamInfo]:
    info: StreamInfo | None = None
    is_last = False
    while not is_last:
        head = yield from stream.read(4, "the FLAC header")
        is_last, kind = bool(head[0] & 0x80), head[0] & 0x7F
        size = int.from_bytes(head[1:], "big")
        if (kind == _STREAMINFO) is not (info is None) or kind == _FORBIDDEN:
            raise InvalidAudio(f"the FLAC header is damaged: a metadata block of type {kind}")
        if info is None:
            if size != STREAMINFO_BYTES:
                raise InvalidAudio(f"the FLAC header is damaged: a STREAMINFO of {size} bytes")
            info = StreamInfo.of((yield from stream.read(size, "the FLAC header")))
        else:
            yield from stream.skip(size, "the FLAC header")
    if info is None:
        raise AssertionError("the first block is a STREAMINFO")
    return info


def _skip_tail(stream: ByteStream) -> Awaits[bool]:
    """Skip what is put behind FLAC and is none; return whether something was."""
    start = yield from stream.peek(4)
    if start[:3] == b"TAG":
        yield from stream.skip(_ID3V1_BYTES, "an ID3 tag")
    elif start[:1] == b"\0":
        held = stream.held(0, _PADDING_BYTES)
        stream.take(len(held) - len(held.lstrip(b"\0")))
    elif start == b"fLaC":
        raise InvalidAudio(
            f"another FLAC stream begins at byte {stream.position}; send one, or both in Ogg"
        )
    else:
        return False
    return True


def _frame(stream: ByteStream, frames: FlacFrames, info: StreamInfo) -> Awaits[Block]:
    """Read and decode a frame. Its length is nowhere written.

    It ends with the first byte where its CRC-16 comes to 0 and it decodes. What is behind it is
    not looked at: a live encoder sends that only a block later, and it may be no frame.
    """
    if (yield from stream.peek(2)) not in _SYNCS:
        raise _damaged(stream)
    crc, checked, n_trials = 0, 0, 0
    while checked < info.most_frame_bytes:
        upto = min(checked + _CRC_BLOCK_BYTES, stream.n_held, info.most_frame_bytes)
        if upto == checked:
            stream.require_more("a FLAC frame")
            yield
            continue
        part = stream.held(checked, upto)
        for n_bytes in _ends(crc, part):
            try:
                block = frames.decode(stream.held(0, checked + n_bytes))
            except PacketError:
                n_trials += 1  # the CRC came to 0 by chance, within the frame
                if n_trials == _MOST_TRIALS:
                    raise _damaged(stream) from None
            else:
                stream.take(checked + n_bytes)
                return block
        crc, checked = flac_crc().update(crc, part), upto
    raise _damaged(stream)


def _ends(state: int, part: bytes) -> list[int]:
    """Return behind how many bytes of a part the CRC is 0. state: that of what is before it."""
    codes = np.frombuffer(part, np.uint8)
    added = np.bitwise_xor.accumulate(_crc_rows()[np.arange(len(part)), codes])
    ends: list[int] = (np.flatnonzero(added == state) + 1).tolist()
    return ends


@functools.cache
def _crc_rows() -> NDArray[np.uint16]:
    """Return what each byte adds to a CRC, by its place in a block: [n_bytes, 256].

    To the state as it was before the block: the CRC behind a byte is the state with those added,
    shifted by the bits up to there, and shifting leaves 0 what is 0, and only that.
    """
    rows = [np.arange(256, dtype=np.uint32) << 8]
    for _ in range(_CRC_BLOCK_BYTES - 1):
        row = rows[-1]
        for _ in range(8):
            row = (row ^ (row & 1) * np.uint32(_CRC_POLYNOMIAL)) >> 1
        rows.append(row)
    return np.stack(rows).astype(np.uint16)


def _damaged(stream: ByteStream) -> InvalidAudio:
    return InvalidAudio(
        f"the FLAC stream is damaged at byte {stream.position}: no valid frame begins with "
        f"{stream.held(0, 4).hex(' ')}"
    )

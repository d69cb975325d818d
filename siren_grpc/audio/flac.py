"""FLAC, native (RFC 9639); each frame is decoded when its last byte has come."""

from __future__ import annotations

from dataclasses import dataclass

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
    """Read a FLAC stream."""
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


def _frame(stream: ByteStream, frames: FlacFrames, info: StreamInfo) -> Awaits[Block]:
    """Read and decode a frame. Its length is nowhere written.

    It ends where its CRC-16 comes to 0 and it decodes. That is looked for where the next frame's
    sync code stands and, because a live encoder sends that one only a block later, where the
    bytes end that are here: so nothing waits for the frame behind it.
    """
    sync = yield from stream.peek(2)
    if sync not in _SYNCS:
        raise _damaged(stream)
    crc, checked, searched = 0, 0, 2
    while True:
        at = stream.find(sync, searched)
        end = stream.n_held if at < 0 else at
        if end > 2:
            # One byte is kept back: a sync code may begin with the last one here.
            upto = max(checked, end - 1)
            crc, checked = flac_crc().update(crc, stream.held(checked, upto)), upto
            if flac_crc().update(crc, stream.held(checked, end)) == 0:
                try:
                    block = frames.decode(stream.held(0, end))
                except PacketError:
                    pass  # the CRC came to 0 by chance, within the frame
                else:
                    stream.take(end)
                    return block
        if end > info.most_frame_bytes:
            raise _damaged(stream)
        if at < 0:
            searched = max(searched, end - 1)
            stream.require_more("a FLAC frame")
            yield
        else:
            searched = at + 1


def _damaged(stream: ByteStream) -> InvalidAudio:
    return InvalidAudio(
        f"the FLAC stream is damaged at byte {stream.position}: no valid frame begins with "
        f"{stream.held(0, 4).hex(' ')}"
    )

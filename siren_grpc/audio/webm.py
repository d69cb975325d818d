"""WebM and Matroska (RFC 8794, RFC 9559) with Opus in it, as files and as browsers record it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from siren_grpc.audio.byte_stream import Awaits, ByteStream
from siren_grpc.audio.codec import PacketError
from siren_grpc.audio.format import Parser, named
from siren_grpc.audio.opus import HERTZ, OpusHead, OpusPackets
from siren_grpc.domain.errors import InvalidAudio

MAGIC = b"\x1a\x45\xdf\xa3"
_EBML, _DOC_TYPE = 0x1A45DFA3, 0x4282
_SEGMENT, _CLUSTER, _TRACKS, _TRACK = 0x18538067, 0x1F43B675, 0x1654AE6B, 0xAE
_TRACK_NUMBER, _CODEC_ID, _CODEC_PRIVATE, _CONTENT_ENCODINGS = 0xD7, 0x86, 0x63A2, 0x6D80
_SIMPLE_BLOCK, _BLOCK_GROUP, _BLOCK, _DISCARD_PADDING = 0xA3, 0xA0, 0xA1, 0x75A2
_ENTERED = frozenset({_SEGMENT, _CLUSTER, _TRACKS})
"""Whose children are read as if they stood beside them; so their sizes may be unknown."""
_OPUS = "A_OPUS"
_MOST_ELEMENT_BYTES = 1 << 20
"""Of an element that is read as a whole; all others are skipped without being kept."""
_MOST_EBML_BYTES = 4096
_UNKNOWN = -1


@dataclass(slots=True)
class _Track:
    number: int = 0
    codec: str = ""
    head: bytes = b""
    is_encoded: bool = False


@dataclass(slots=True)
class _Tracks:
    """What the head says of the tracks, and the decoder of the one that is heard."""

    codecs: list[str] = field(default_factory=list)
    number: int = 0
    packets: OpusPackets | None = None


def parse_webm(stream: ByteStream) -> Parser[None]:
    """Read a WebM stream: its first track of Opus."""
    head = yield from stream.peek(4)
    if head != MAGIC:
        raise InvalidAudio(f"not a WebM stream: it begins with {named(head)}")
    tracks = _Tracks()
    segment_end: int | None = None
    while not (yield from stream.is_at_end()):
        element, size = yield from _element_head(stream)
        if element in _ENTERED:
            if element == _SEGMENT:
                segment_end = None if size == _UNKNOWN else stream.position + size
            if element == _CLUSTER and tracks.packets is None:
                raise InvalidAudio(
                    f"the WebM stream holds {', '.join(tracks.codecs) or 'no track'} before its "
                    f"first cluster; send {_OPUS}"
                )
        elif size == _UNKNOWN:
            raise InvalidAudio(f"the WebM stream is damaged: element {element:x} has no size")
        elif element == _EBML:
            yield from _doc_type(stream, size)
            tracks = _Tracks()
        elif element == _TRACK:
            opus = _note(tracks, _track((yield from _whole(stream, size))))
            if opus is not None:
                yield opus.format
        elif element in (_SIMPLE_BLOCK, _BLOCK_GROUP):
            yield from _blocks(stream, element, size, tracks)
        else:
            yield from stream.skip(size, "a WebM element")
    if tracks.packets is None:
        raise InvalidAudio(f"the WebM stream has no track of {_OPUS}: is it truncated?")
    if segment_end is not None and stream.position < segment_end:
        raise InvalidAudio(
            f"the WebM stream ends after {stream.position} of {segment_end} bytes: it is "
            "truncated; send all of it"
        )


def _element_head(stream: ByteStream) -> Awaits[tuple[int, int]]:
    """Read an element's id and size (RFC 8794, 4 to 6)."""
    at = stream.position
    first = (yield from stream.read(1, "a WebM element"))[0]
    n_bytes = 9 - first.bit_length()
    if n_bytes > 4:
        raise InvalidAudio(f"the WebM stream is damaged: no element begins at byte {at}")
    rest = yield from stream.read(n_bytes - 1, "a WebM element")
    element = int.from_bytes(bytes([first]) + rest, "big")
    first = (yield from stream.read(1, "a WebM element"))[0]
    n_bytes = 9 - first.bit_length()
    if n_bytes > 8:
        raise InvalidAudio(f"the WebM stream is damaged: no size follows at byte {at}")
    data = bytes([first]) + (yield from stream.read(n_bytes - 1, "a WebM element"))
    size, _ = _number(data, 0)
    return element, _UNKNOWN if size == (1 << 7 * n_bytes) - 1 else size


def _whole(stream: ByteStream, size: int) -> Awaits[bytes]:
    if size > _MOST_ELEMENT_BYTES:
        raise InvalidAudio(
            f"the WebM stream has an element of {size} bytes at byte {stream.position}; the "
            f"server takes {_MOST_ELEMENT_BYTES}"
        )
    return (yield from stream.read(size, "a WebM element"))


def _doc_type(stream: ByteStream, size: int) -> Awaits[None]:
    if size > _MOST_EBML_BYTES:
        raise InvalidAudio(f"the WebM header has {size} bytes, which no WebM stream has")
    kind = dict(_children((yield from _whole(stream, size)))).get(_DOC_TYPE, b"")
    if kind.rstrip(b"\0") not in (b"webm", b"matroska"):
        raise InvalidAudio(f"not a WebM stream: its header says {kind[:20]!r}")


def _track(data: bytes) -> _Track:
    track = _Track()
    for element, value in _children(data):
        if element == _TRACK_NUMBER:
            track.number = int.from_bytes(value, "big")
        elif element == _CODEC_ID:
            track.codec = value[:40].rstrip(b"\0").decode("ascii", "replace")
        elif element == _CODEC_PRIVATE:
            track.head = value
        elif element == _CONTENT_ENCODINGS:
            track.is_encoded = True
    return track


def _note(tracks: _Tracks, track: _Track) -> OpusHead | None:
    tracks.codecs.append(track.codec or "a track without a codec")
    if tracks.packets is not None or track.codec != _OPUS:
        return None
    if track.is_encoded:
        raise InvalidAudio("the WebM stream's audio is encrypted or compressed once more")
    head = OpusHead.of(track.head)
    tracks.number, tracks.packets = track.number, OpusPackets(head)
    return head


def _blocks(stream: ByteStream, element: int, size: int, tracks: _Tracks) -> Parser[None]:
    """Read a block, or a group of one block and what is said of it (RFC 9559, 10)."""
    if tracks.packets is None:
        raise InvalidAudio("the WebM stream is damaged: a block before the tracks")
    at = stream.position
    blocks: list[bytes] = []
    padding_ns = 0
    if element == _SIMPLE_BLOCK:
        blocks += yield from _heard_block(stream, size, tracks)
    while stream.position < at + size:
        child, child_size = yield from _element_head(stream)
        if child_size == _UNKNOWN or stream.position + child_size > at + size:
            raise _damaged()
        if child == _BLOCK:
            blocks += yield from _heard_block(stream, child_size, tracks)
        elif child == _DISCARD_PADDING:
            value = yield from _whole(stream, child_size)
            padding_ns = int.from_bytes(value, "big", signed=True)
        else:
            yield from stream.skip(child_size, "a WebM block")
    for block in blocks:
        packets = _packets(block)
        for i, packet in enumerate(packets):
            try:
                samples = tracks.packets.decode(packet)
            except PacketError as error:
                raise InvalidAudio(
                    f"the WebM stream is damaged: the block at byte {at} does not decode ({error})"
                ) from error
            if i == len(packets) - 1 and padding_ns > 0:
                samples = samples[: max(0, len(samples) - padding_ns * HERTZ // 1_000_000_000)]
            yield samples


def _heard_block(stream: ByteStream, size: int, tracks: _Tracks) -> Awaits[list[bytes]]:
    """Read a block; none if it is of another track, such as video, and then it may be long."""
    start = yield from stream.peek(min(size, 8))
    if _number(start, 0)[0] == tracks.number:
        return [(yield from _whole(stream, size))]
    yield from stream.skip(size, "a WebM block")
    return []


def _packets(block: bytes) -> list[bytes]:
    """Return the packets of a block, which may be laced (RFC 9559, 10.3)."""
    _, at = _number(block, 0)
    at += 3  # time and flags
    if at > len(block):
        raise _damaged()
    lacing = block[at - 1] >> 1 & 3
    if lacing == 0:
        return [block[at:]]
    if at == len(block):
        raise _damaged()
    n_packets = block[at] + 1
    at += 1
    if lacing == 2:
        size, rest = divmod(len(block) - at, n_packets)
        if rest:
            raise _damaged()
        return [block[at + i * size : at + (i + 1) * size] for i in range(n_packets)]
    sizes, at = _xiph_sizes(block, at, n_packets) if lacing == 1 else _sizes(block, at, n_packets)
    packets = []
    for size in sizes:
        if size < 0 or at + size > len(block):
            raise _damaged()
        packets.append(block[at : at + size])
        at += size
    return [*packets, block[at:]]


def _xiph_sizes(block: bytes, at: int, n_packets: int) -> tuple[list[int], int]:
    sizes = []
    for _ in range(n_packets - 1):
        size = 0
        while True:
            if at >= len(block):
                raise _damaged()
            size += block[at]
            at += 1
            if block[at - 1] < 255:
                break
        sizes.append(size)
    return sizes, at


def _sizes(block: bytes, at: int, n_packets: int) -> tuple[list[int], int]:
    """Read EBML lacing: the first size, and then how each differs from the one before."""
    sizes: list[int] = []
    for i in range(n_packets - 1):
        start = at
        value, at = _number(block, at)
        bias = (1 << 7 * (at - start) - 1) - 1
        sizes.append(sizes[-1] + value - bias if i else value)
    return sizes, at


def _children(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Return the elements of a master element."""
    at = 0
    while at < len(data):
        n_bytes = 9 - data[at].bit_length()
        element = int.from_bytes(data[at : at + n_bytes], "big")
        size, at = _number(data, at + n_bytes)
        if at + size > len(data):
            raise _damaged()
        yield element, data[at : at + size]
        at += size


def _number(data: bytes, at: int) -> tuple[int, int]:
    """Read a number of variable length; return it and where it ends."""
    n_bytes = 9 - data[at].bit_length() if at < len(data) else 9
    if n_bytes > 8 or at + n_bytes > len(data):
        raise _damaged()
    marked = int.from_bytes(data[at : at + n_bytes], "big")
    return marked - (1 << 7 * n_bytes), at + n_bytes


def _damaged() -> InvalidAudio:
    return InvalidAudio("the WebM stream is damaged: an element does not fit into what holds it")

"""Ogg (RFC 3533) with Opus (RFC 7845) or FLAC (RFC 9639, 10.1) in it."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from siren_grpc.audio.byte_stream import Awaits, ByteStream
from siren_grpc.audio.codec import PacketError
from siren_grpc.audio.crc import ogg_crc
from siren_grpc.audio.flac import STREAMINFO_BYTES, FlacFrames, StreamInfo
from siren_grpc.audio.format import AudioFormat, Block, Parser, named
from siren_grpc.audio.opus import OpusHead, OpusPackets
from siren_grpc.domain.errors import InvalidAudio

_PAGE_HEAD_BYTES = 27
_MOST_PACKET_BYTES = 1 << 20
_CONTINUED, _FIRST, _LAST = 1, 2, 4
_FLAC_HEAD = b"\x7fFLAC"
_FLAC_HEAD_BYTES = 13  # and then the STREAMINFO's header and itself
_OTHER_CODECS = (
    (b"\x01vorbis", "Vorbis"),
    (b"Speex   ", "Speex"),
    (b"\x80theora", "Theora video"),
    (b"fishead\0", "a Skeleton"),
)


@dataclass(frozen=True, slots=True)
class _Page:
    is_continued: bool
    is_first: bool
    is_last: bool
    granule: int
    serial: int
    number: int
    lacing: bytes
    crc: int
    running_crc: int
    """That of its header, with the field of the CRC zero."""


class _Content(Protocol):
    """What the packets of a logical stream are."""

    format: AudioFormat

    def begin_page(self, page: _Page) -> None: ...

    def is_audio(self, begin: bytes) -> bool:
        """Whether the next packet, which begins so, is audio: others are skipped, however long.

        Called once for each, in order.
        """
        ...

    def decode(self, packet: bytes) -> Block:
        """Decode a packet of audio; any other comes as an empty one."""
        ...

    def end_page(self) -> None: ...


def parse_ogg(stream: ByteStream, wanted: str = "") -> Parser[None]:
    """Read an Ogg stream, or several chained; of those multiplexed the first that is understood.

    A logical stream that begins behind audio is the next of a chain (RFC 3533, 4: those that are
    multiplexed all begin before any of their data), also where the one before was cut short of
    its last page, and where both have the same serial number.

    wanted: "Opus" or "FLAC" for nothing else. Packets are decoded as they come, not page by page.
    """
    head = yield from stream.peek(4)
    if head != b"OggS":
        raise InvalidAudio(f"not an Ogg stream: it begins with {named(head)}")
    logical: _Logical | None = None
    others: list[str] = []
    while not (yield from stream.is_at_end()):
        page = yield from _page(stream)
        if page.is_first and (logical is None or logical.has_audio or logical.is_over):
            packet, crc = yield from _first_packet(stream, page)
            _check(crc, page)
            content = _content(packet, wanted)
            if isinstance(content, str):
                others.append(content)
            else:
                logical = _Logical(page.serial, content, page.number)
                yield content.format
        elif logical is not None and page.serial == logical.serial:
            yield from logical.read(stream, page)
        elif logical is None and not page.is_first:
            break
        else:
            yield from stream.skip(sum(page.lacing), "an Ogg page")
    if logical is None:
        raise InvalidAudio(
            f"the Ogg stream holds {' and '.join(others) or 'nothing'}; send {wanted or 'Opus'} "
            "in it" + ("" if wanted else ", or FLAC")
        )


def _page(stream: ByteStream) -> Awaits[_Page]:
    start = stream.position
    head = yield from stream.read(_PAGE_HEAD_BYTES, "an Ogg page")
    magic, version, flags, granule, serial, number, crc, n_segments = struct.unpack(
        "<4sBBqIIIB", head
    )
    if magic != b"OggS" or version != 0:
        raise InvalidAudio(f"the Ogg stream is damaged: no page begins at byte {start}")
    lacing = yield from stream.read(n_segments, "an Ogg page")
    running = ogg_crc().update(0, head[:22] + bytes(4) + head[26:] + lacing)
    return _Page(
        bool(flags & _CONTINUED),
        bool(flags & _FIRST),
        bool(flags & _LAST),
        granule,
        serial,
        number,
        lacing,
        crc,
        running,
    )


def _first_packet(stream: ByteStream, page: _Page) -> Awaits[tuple[bytes, int]]:
    data = yield from stream.read(sum(page.lacing), "an Ogg page")
    return data, ogg_crc().update(page.running_crc, data)


def _check(crc: int, page: _Page) -> None:
    if crc != page.crc:
        raise InvalidAudio(f"the Ogg stream is damaged: page {page.number} has a wrong checksum")


class _Logical:
    """One logical stream behind its first page."""

    def __init__(self, serial: int, content: _Content, number: int) -> None:
        self.serial = serial
        self.is_over = False
        self.has_audio = False
        """Whether its first packet of audio has begun."""
        self._content = content
        self._number = number
        self._packet = bytearray()
        self._is_within_packet = False
        self._is_audio = False
        """Of the packet that the bytes read last belong to."""

    def read(self, stream: ByteStream, page: _Page) -> Parser[None]:
        """Read a page's packets."""
        if page.number != (self._number + 1) & 0xFFFFFFFF:
            raise InvalidAudio(
                f"the Ogg stream lacks pages: number {page.number} follows {self._number}"
            )
        if page.is_continued is not self._is_within_packet:
            raise InvalidAudio(f"the Ogg stream is damaged: page {page.number} lacks a packet")
        self._number = page.number
        crc = page.running_crc
        self._content.begin_page(page)
        for n_bytes, is_whole in _parts(page.lacing):
            part = yield from stream.read(n_bytes, "an Ogg page")
            crc = ogg_crc().update(crc, part)
            if not self._is_within_packet:
                self._is_audio = self._content.is_audio(part)
                self.has_audio |= self._is_audio
            if self._is_audio:
                self._packet += part
                if len(self._packet) > _MOST_PACKET_BYTES:
                    raise InvalidAudio(
                        f"the Ogg stream has a packet of over {_MOST_PACKET_BYTES} bytes"
                    )
            self._is_within_packet = not is_whole
            if is_whole:
                packet = bytes(self._packet)
                self._packet.clear()
                try:
                    block = self._content.decode(packet)
                except PacketError as error:
                    raise InvalidAudio(
                        f"the Ogg stream is damaged: page {page.number} has a packet that does "
                        f"not decode ({error})"
                    ) from error
                yield block
        _check(crc, page)
        self._content.end_page()
        if page.is_last:
            self.is_over = True
            if self._is_within_packet:
                raise InvalidAudio("the Ogg stream's last page ends within a packet")


def _parts(lacing: bytes) -> Iterator[tuple[int, bool]]:
    """Return for each packet's part in a page its length, and whether the packet ends with it."""
    n_bytes = 0
    for value in lacing:
        n_bytes += value
        if value < 255:
            yield n_bytes, True
            n_bytes = 0
    if lacing and lacing[-1] == 255:
        yield n_bytes, False


def _content(packet: bytes, wanted: str) -> _Content | str:
    """Return what a first packet begins, or the name of what is not understood or wanted."""
    if packet.startswith(b"OpusHead"):
        return _Opus(OpusHead.of(packet)) if wanted in ("", "Opus") else "Opus"
    if packet.startswith(_FLAC_HEAD):
        return _Flac(packet) if wanted in ("", "FLAC") else "FLAC"
    for magic, name in _OTHER_CODECS:
        if packet.startswith(magic):
            return name
    return f"an unknown codec ({packet[:8].hex(' ')})"


class _Opus:
    def __init__(self, head: OpusHead) -> None:
        self.format = head.format
        self._packets = OpusPackets(head)
        self._pre_skip = head.pre_skip
        self._n_tags = 1
        self._n_samples = 0
        """Decoded, the pre-skip left out."""
        self._start_samples: int | None = None
        """What the granule positions count from; None before the first page of audio ended."""
        self._end_samples: int | None = None
        """Where the audio ends, once the last page has begun: the rest pads the last packet."""

    def begin_page(self, page: _Page) -> None:
        self._page = page
        if page.is_last and page.granule >= 0:
            end = page.granule - self._pre_skip - (self._start_samples or 0)
            self._end_samples = max(end, self._n_samples)

    def is_audio(self, begin: bytes) -> bool:
        return self._n_tags == 0

    def decode(self, packet: bytes) -> Block:
        if self._n_tags:
            self._n_tags -= 1
            return _nothing(self.format)
        block = self._packets.decode(packet)
        if self._end_samples is not None:
            block = block[: self._end_samples - self._n_samples]
        self._n_samples += len(block)
        return block

    def end_page(self) -> None:
        # A stream that was joined while it ran does not begin at 0.
        if self._start_samples is None and self._n_samples and self._page.granule >= 0:
            start = self._page.granule - self._pre_skip - self._n_samples
            self._start_samples = max(0, start)


class _Flac:
    def __init__(self, packet: bytes) -> None:
        if len(packet) < _FLAC_HEAD_BYTES + 4 + STREAMINFO_BYTES:
            raise InvalidAudio("the FLAC header in the Ogg stream is damaged")
        # Its packets of metadata: 0 for unknown, so they are told by their first byte.
        info = StreamInfo.of(packet[_FLAC_HEAD_BYTES + 4 :][:STREAMINFO_BYTES])
        self.format = info.format
        self._frames = FlacFrames(info)
        self._has_audio = False

    def begin_page(self, page: _Page) -> None:
        pass

    def is_audio(self, begin: bytes) -> bool:
        # Pictures are longer than any frame.
        return self._has_audio or begin[:1] == b"\xff"

    def decode(self, packet: bytes) -> Block:
        if not self.is_audio(packet):
            return _nothing(self.format)
        self._has_audio = True
        return self._frames.decode(packet)

    def end_page(self) -> None:
        pass


def _nothing(audio: AudioFormat) -> Block:
    return np.zeros((0, audio.n_channels), np.float32)

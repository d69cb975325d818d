"""ID3v2 tags, which stand before audio and are none."""

from __future__ import annotations

from siren_grpc.audio.byte_stream import Awaits, ByteStream


def skip_id3(stream: ByteStream) -> Awaits[None]:
    """Skip any tags here (id3.org, ID3v2.4.0, 3.1), however long."""
    while (yield from stream.peek(3)) == b"ID3":
        head = yield from stream.read(10, "an ID3 tag")
        size = 0
        for byte in head[6:]:
            size = size << 7 | byte & 0x7F
        has_footer = head[5] & 0x10
        yield from stream.skip(size + (10 if has_footer else 0), "an ID3 tag")

"""RIFF/WAVE, as files and as recorders write it live."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from siren_grpc.audio.byte_stream import Awaits, ByteStream
from siren_grpc.audio.decode import Encoding, to_samples, up_to_fault
from siren_grpc.audio.format import AudioFormat, Parser, named
from siren_grpc.domain.errors import InvalidAudio
from siren_grpc.domain.work import Samples

RIFF_IDS = (b"RIFF", b"RF64", b"BW64")
_PCM, _FLOAT, _ALAW, _MULAW, _EXTENSIBLE = 0x0001, 0x0003, 0x0006, 0x0007, 0xFFFE
_OTHER_CODECS = {
    0x0002: "Microsoft ADPCM",
    0x0011: "IMA ADPCM",
    0x0031: "GSM 6.10",
    0x0040: "G.721 ADPCM",
    0x0050: "MPEG",
    0x0055: "MP3",
    0x0161: "Windows Media Audio",
}
_OPEN_END_BYTES = 0x7FFF0000
"""From this size on a data chunk's size is what a live writer puts when it does not know it."""
_IN_DS64 = 0xFFFFFFFF
_OPEN_LONG = (0, 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF)
"""Sizes in a ds64 chunk that say none."""
_LEAST_DS64_BYTES = 16
_LEAST_FMT_BYTES, _EXTENSIBLE_FMT_BYTES, _MOST_FMT_BYTES = 16, 40, 4096


@dataclass(frozen=True, slots=True)
class _Layout:
    hertz: int
    n_channels: int
    sample_bytes: int
    to_samples: Callable[[bytes], Samples]

    @property
    def frame_bytes(self) -> int:
        return self.sample_bytes * self.n_channels


def parse_wav(stream: ByteStream) -> Parser[None]:
    """Read a WAV file, or several one behind the other.

    The audio ends with the data chunk; one whose size is 0 or about the largest possible goes on
    to the end of the stream, as recorders write it that cannot go back to fill in the size. Of
    RF64 and BW64 a ds64 chunk may say the size (EBU Tech 3306, 4). Behind the data whatever is no
    chunk is no audio, nor is the rest.
    """
    head = yield from stream.peek(12)
    if head[:4] not in RIFF_IDS or head[8:] != b"WAVE":
        raise InvalidAudio(f"not a WAV file: it begins with {named(head)}")
    yield from stream.skip(12, "the WAV header")
    layout: _Layout | None = None
    long_size: int | None = None
    is_behind_data = False
    while (yield from _is_chunk_next(stream)):
        chunk_id, size = struct.unpack("<4sI", (yield from stream.read(8, "a WAV chunk")))
        if chunk_id in RIFF_IDS:
            yield from stream.skip(4, "the WAV header")
            long_size, is_behind_data = None, False
        elif chunk_id == b"ds64":
            long_size = yield from _long_size(stream, size)
        elif chunk_id == b"fmt ":
            layout = yield from _layout(stream, size)
            yield AudioFormat("WAV", layout.hertz, layout.n_channels)
        elif chunk_id == b"data":
            if layout is None:
                raise InvalidAudio("the WAV file has a data chunk before its fmt chunk")
            if size == _IN_DS64 and long_size is not None:
                yield from _audio(stream, long_size, layout, is_open=long_size in _OPEN_LONG)
            else:
                is_open = size == 0 or size >= _OPEN_END_BYTES
                yield from _audio(stream, size, layout, is_open=is_open)
            is_behind_data = True
        elif is_behind_data:
            is_chunk = _is_name(chunk_id)
            yield from _pass_over(stream, size + size % 2 if is_chunk else None)
        elif not _is_name(chunk_id):
            raise InvalidAudio(
                f"the WAV file has {named(chunk_id)} where a chunk should begin, at byte "
                f"{stream.position - 8}"
            )
        else:
            yield from stream.skip(size + size % 2, f"the WAV chunk {chunk_id.decode('ascii')!r}")
    if layout is None:
        raise InvalidAudio("the WAV file ends before its fmt chunk: it is truncated")


def _is_chunk_next(stream: ByteStream) -> Awaits[bool]:
    # Fewer bytes than a chunk's header are padding behind the last chunk.
    return len((yield from stream.peek(8))) == 8


def _is_name(chunk_id: bytes) -> bool:
    return chunk_id.isascii() and chunk_id.decode("ascii").isprintable()


def _pass_over(stream: ByteStream, n_bytes: int | None) -> Awaits[None]:
    """Skip so many bytes, or those that are left if they are fewer; None for all."""
    while n_bytes != 0 and not (yield from stream.is_at_end()):
        n_taken = len(stream.take(stream.n_held if n_bytes is None else n_bytes))
        n_bytes = None if n_bytes is None else n_bytes - n_taken


def _long_size(stream: ByteStream, size: int) -> Awaits[int]:
    """Read a ds64 chunk: the data's size, in 64 bits."""
    if size < _LEAST_DS64_BYTES:
        raise InvalidAudio(f"the WAV file's ds64 chunk has {size} bytes, which no WAV file has")
    sizes = yield from stream.read(_LEAST_DS64_BYTES, "the WAV header")
    yield from stream.skip(size + size % 2 - _LEAST_DS64_BYTES, "the WAV header")
    _, data_size = struct.unpack("<QQ", sizes)
    return int(data_size)


def _layout(stream: ByteStream, size: int) -> Awaits[_Layout]:
    """Read a fmt chunk: WAVEFORMATEX, or WAVEFORMATEXTENSIBLE."""
    if not _LEAST_FMT_BYTES <= size <= _MOST_FMT_BYTES:
        raise InvalidAudio(f"the WAV file's fmt chunk has {size} bytes, which no WAV file has")
    fmt = yield from stream.read(size + size % 2, "the WAV header")
    tag, n_channels, hertz, _, frame_bytes, bits = struct.unpack_from("<HHIIHH", fmt)
    if tag == _EXTENSIBLE and size >= _EXTENSIBLE_FMT_BYTES:
        (tag,) = struct.unpack_from("<H", fmt, 24)  # the GUID of a sub-format begins with its tag
    kind = _KINDS.get((tag, bits))
    if kind is None:
        codec = _OTHER_CODECS.get(tag) or (
            f"{bits}-bit samples" if tag in (_PCM, _FLOAT, _ALAW, _MULAW) else "an unknown codec"
        )
        raise InvalidAudio(
            f"the WAV file holds {codec} (format tag 0x{tag:04x}); send PCM of 8, 16, 24 or 32 "
            "bits, float of 32 or 64, mu-law or A-law"
        )
    layout = _Layout(hertz, n_channels, bits // 8, kind)
    if n_channels == 0 or layout.frame_bytes != frame_bytes:
        raise InvalidAudio(
            f"the WAV header contradicts itself: {n_channels} channels of {bits} bits in "
            f"{frame_bytes} bytes"
        )
    return layout


def _audio(stream: ByteStream, size: int, layout: _Layout, *, is_open: bool) -> Parser[None]:
    left = size
    width = layout.frame_bytes
    while is_open or left >= width:
        # Without a known size, whole samples up to the end of the stream.
        n_held = stream.n_held if is_open else min(stream.n_held, left)
        if n_held < width:
            if is_open and stream.is_over and not n_held:
                return
            stream.require_more("a sample of the WAV file" if n_held else "the WAV file's data")
            yield None
            continue
        held = stream.held(0, n_held - n_held % width)
        samples, fault = up_to_fault(layout.to_samples, held, width)
        left -= len(stream.take(len(samples) * layout.sample_bytes))
        yield samples.reshape(-1, layout.n_channels)
        if fault is not None:
            raise fault
    if left:
        raise InvalidAudio(f"the WAV file's data of {size} bytes ends within a sample")
    # Not every writer pads data of an odd size.
    if size % 2 and (yield from stream.peek(1)) == b"\0":
        stream.take(1)


def _unsigned_8(data: bytes) -> Samples:
    samples: Samples = (np.frombuffer(data, np.uint8).astype(np.float32) - 128) / np.float32(128)
    return samples


def _signed_24(data: bytes) -> Samples:
    padded = np.zeros((len(data) // 3, 4), np.uint8)
    padded[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
    return _signed_32(padded.tobytes())


def _signed_32(data: bytes) -> Samples:
    samples: Samples = np.frombuffer(data, "<i4").astype(np.float32) * np.float32(2.0**-31)
    return samples


def _float_64(data: bytes) -> Samples:
    return to_samples(Encoding.FLOAT32, np.frombuffer(data, "<f8").astype("<f4").tobytes())


def _as(encoding: Encoding) -> Callable[[bytes], Samples]:
    return lambda data: to_samples(encoding, data)


_KINDS: dict[tuple[int, int], Callable[[bytes], Samples]] = {
    (_PCM, 8): _unsigned_8,
    (_PCM, 16): _as(Encoding.LINEAR16),
    (_PCM, 24): _signed_24,
    (_PCM, 32): _signed_32,
    (_FLOAT, 32): _as(Encoding.FLOAT32),
    (_FLOAT, 64): _float_64,
    (_ALAW, 8): _as(Encoding.ALAW),
    (_MULAW, 8): _as(Encoding.MULAW),
}

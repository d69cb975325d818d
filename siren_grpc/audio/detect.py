"""Which parser reads a stream: the one declared, or the one its first bytes ask for."""

from __future__ import annotations

from siren_grpc.audio.byte_stream import Awaits, ByteStream
from siren_grpc.audio.decode import Encoding, to_samples
from siren_grpc.audio.flac import parse_flac
from siren_grpc.audio.format import AudioFormat, Parser
from siren_grpc.audio.id3 import skip_id3
from siren_grpc.audio.mp3 import HEAD_BYTES, FrameHead, parse_mp3
from siren_grpc.audio.ogg import parse_ogg
from siren_grpc.audio.wav import RIFF_IDS, parse_wav
from siren_grpc.audio.webm import MAGIC, parse_webm


def parse(encoding: Encoding, stream: ByteStream, raw: AudioFormat) -> Parser[None]:
    """Read a stream of an encoding that is not raw. raw: what AUTO makes of any other bytes."""
    if encoding is Encoding.AUTO:
        encoding = yield from _detected(stream)
    if encoding is Encoding.WAV:
        yield from parse_wav(stream)
    elif encoding is Encoding.FLAC:
        is_ogg = (yield from stream.peek(4)) == b"OggS"
        yield from parse_ogg(stream, "FLAC") if is_ogg else parse_flac(stream)
    elif encoding is Encoding.OGG_OPUS:
        yield from parse_ogg(stream, "Opus")
    elif encoding is Encoding.WEBM_OPUS:
        yield from parse_webm(stream)
    elif encoding is Encoding.MP3:
        yield from parse_mp3(stream)
    else:
        yield from _parse_linear16(stream, raw)


def _detected(stream: ByteStream) -> Awaits[Encoding]:
    head = yield from stream.peek(4)
    if head in RIFF_IDS and (yield from stream.peek(12))[8:] == b"WAVE":
        return Encoding.WAV
    if head == b"OggS":
        # Opus, if that is what is in it; the parser of FLAC in Ogg takes the other.
        first = yield from stream.peek(64)
        return Encoding.FLAC if b"\x7fFLAC" in first else Encoding.OGG_OPUS
    if head == MAGIC:
        return Encoding.WEBM_OPUS
    if head[:3] == b"ID3":
        yield from skip_id3(stream)
        return Encoding.FLAC if (yield from stream.peek(4)) == b"fLaC" else Encoding.MP3
    if head == b"fLaC":
        return Encoding.FLAC
    if (yield from _is_mp3(stream, head)):
        return Encoding.MP3
    return Encoding.LINEAR16


def _is_mp3(stream: ByteStream, head: bytes) -> Awaits[bool]:
    """Return whether a frame begins here, and behind it another: samples may look like one."""
    frame = FrameHead.of(head)
    if frame is None:
        return False
    both = yield from stream.peek(frame.n_bytes + HEAD_BYTES)
    following = FrameHead.of(both[frame.n_bytes :])
    if following is None:
        return len(both) == frame.n_bytes  # the only one
    return following.is_like(frame)


def _parse_linear16(stream: ByteStream, raw: AudioFormat) -> Parser[None]:
    yield raw
    width = Encoding.LINEAR16.sample_bytes * raw.n_channels
    while not (yield from stream.is_at_end()):
        if stream.n_held < width:
            stream.require_more("a sample of LINEAR16")
            yield None
            continue
        data = stream.take(stream.n_held - stream.n_held % width)
        yield to_samples(Encoding.LINEAR16, data).reshape(-1, raw.n_channels)

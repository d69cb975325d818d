"""MP3 (ISO/IEC 11172-3 and 13818-3, layer III), with the tags around it."""

from __future__ import annotations

from dataclasses import dataclass

from siren_grpc.audio.byte_stream import Awaits, ByteStream
from siren_grpc.audio.codec import Codec, PacketError
from siren_grpc.audio.format import AudioFormat, Parser, named
from siren_grpc.audio.id3 import skip_id3
from siren_grpc.domain.errors import InvalidAudio

HEAD_BYTES = 4
_FIRST_BYTE = b"\xff"
_CRC_BYTES = 2
DECODER_DELAY_SAMPLES = 528 + 1
"""What every decoder's filters hold back."""
_ID3V1_BYTES = 128
_APE_HEAD_BYTES = 32
_MOST_JUNK_BYTES = 4096
"""Before the first frame, or so many zeros skipped at once."""
_MOST_TAIL_BYTES = 1 << 16
"""Behind the last frame, of what is neither padding nor a tag that says its length."""
_KBIT_1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_KBIT_2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_HERTZ = (44100, 48000, 32000)
_VERSION_1, _VERSION_2, _VERSION_2_5 = 3, 2, 0
_LAYER_3 = 1
_MONO = 3


@dataclass(frozen=True, slots=True)
class FrameHead:
    """The first four bytes of each frame."""

    hertz: int
    n_channels: int
    n_bytes: int
    n_samples: int
    side_bytes: int
    """From the frame's begin to behind its side information, where a tag may stand."""
    has_crc: bool
    """Whether one follows, of which a tag takes no notice: it stands where it would without."""

    @classmethod
    def of(cls, data: bytes) -> FrameHead | None:
        """Read it; None for anything else. data: 4 bytes, or fewer."""
        if len(data) < HEAD_BYTES or data[0] != 0xFF or data[1] & 0xE0 != 0xE0:
            return None
        version, layer = data[1] >> 3 & 3, data[1] >> 1 & 3
        rate, kbit, padding = data[2] >> 2 & 3, data[2] >> 4, data[2] >> 1 & 1
        if version == 1 or layer != _LAYER_3 or rate == 3 or kbit in (0, 15):
            return None
        is_1 = version == _VERSION_1
        hertz = _HERTZ[rate] >> {_VERSION_1: 0, _VERSION_2: 1, _VERSION_2_5: 2}[version]
        bits = 1000 * (_KBIT_1 if is_1 else _KBIT_2)[kbit]
        n_samples = 1152 if is_1 else 576
        is_mono = data[3] >> 6 == _MONO
        side = {(True, False): 32, (True, True): 17, (False, False): 17, (False, True): 9}
        return cls(
            hertz,
            1 if is_mono else 2,
            n_samples // 8 * bits // hertz + padding,
            n_samples,
            HEAD_BYTES + side[is_1, is_mono],
            has_crc=not data[1] & 1,
        )

    def is_like(self, other: FrameHead) -> bool:
        """Return whether both may be of one stream."""
        return (self.hertz, self.n_channels) == (other.hertz, other.n_channels)


@dataclass(slots=True)
class _Gap:
    """Samples to leave out: at the begin, and all behind so many, within so many frames."""

    skipped: int = 0
    left: int | None = None
    frames: int = 0


def parse_mp3(stream: ByteStream) -> Parser[None]:
    """Read an MP3 stream.

    A tag in the first frame says how long the encoder's run-in is, and where the audio ends
    (LAME's, also written by libav): the samples are then those that were encoded, and no time
    is shifted. Without one nothing is known, and nothing left out. Files behind one another are
    heard one after the other. Before the first frame and behind the last a little of something
    else is skipped: a stream that is joined begins within a frame, and some tags say no length.
    """
    first = yield from _first_frame(stream)
    yield AudioFormat("MP3", first.hertz, first.n_channels)
    codec = Codec("mp3float", hertz=first.hertz, n_channels=first.n_channels)
    gap = _Gap()
    while (head := (yield from _next_frame(stream))) is not None:
        if not head.is_like(first):
            raise InvalidAudio(
                f"the MP3 stream changes from {first.hertz} Hz, {first.n_channels} channels to "
                f"{head.hertz} Hz, {head.n_channels} channels at byte {stream.position}"
            )
        at = stream.position
        frame = yield from stream.read(head.n_bytes, "an MP3 frame")
        # Of a tag's frame the side information is empty.
        side_start = HEAD_BYTES + (_CRC_BYTES if head.has_crc else 0)
        tag = b"" if any(frame[side_start : head.side_bytes]) else frame[head.side_bytes :]
        if tag.startswith((b"Xing", b"Info")):
            gap = _gap(tag, head)
            codec = Codec("mp3float", hertz=first.hertz, n_channels=first.n_channels)
            continue
        if tag and frame[36:40] == b"VBRI":
            continue
        if gap.left is not None and gap.frames == 0:
            gap = _Gap()  # another file, without a tag
        gap.frames -= 1
        try:
            block = codec.decode(frame)
        except PacketError as error:
            raise InvalidAudio(
                f"the MP3 stream is damaged: the frame at byte {at} does not decode ({error})"
            ) from error
        skipped = min(gap.skipped, len(block))
        gap.skipped -= skipped
        block = block[skipped:]
        if gap.left is not None:
            block = block[: gap.left]
            gap.left -= len(block)
        yield block


def _first_frame(stream: ByteStream) -> Awaits[FrameHead]:
    yield from skip_id3(stream)
    if stream.position:
        while (yield from stream.peek(1)) == b"\0":
            _take_zeros(stream)
    start = yield from stream.peek(HEAD_BYTES)
    first = FrameHead.of(start)
    if first is not None:
        return first
    found = yield from _find_pair(stream, _MOST_JUNK_BYTES)
    if found is None:
        raise InvalidAudio(
            f"not an MP3 stream: at byte {stream.position} there is {named(start)} where a frame "
            "should begin"
        )
    at, first = found
    stream.take(at)
    return first


def _next_frame(stream: ByteStream) -> Awaits[FrameHead | None]:
    """Skip tags and padding; None at the end."""
    while True:
        start = yield from stream.peek(HEAD_BYTES)
        head = FrameHead.of(start)
        if head is not None:
            return head
        if not start:
            return None
        if start[:3] == b"ID3":
            yield from skip_id3(stream)
        elif start[:3] == b"TAG":
            yield from stream.skip(_ID3V1_BYTES, "an ID3 tag")
        elif start == b"APET":
            tag = yield from stream.read(_APE_HEAD_BYTES, "an APE tag")
            is_header = tag[23] & 0x20
            yield from stream.skip(
                int.from_bytes(tag[12:16], "little") if is_header else 0, "an APE tag"
            )
        elif start[0] == 0:
            _take_zeros(stream)
        else:
            yield from _skip_tail(stream)


def _take_zeros(stream: ByteStream) -> None:
    held = stream.held(0, _MOST_JUNK_BYTES)
    stream.take(len(held) - len(held.lstrip(b"\0")))


def _skip_tail(stream: ByteStream) -> Awaits[None]:
    """Skip what is behind the last frame, such as Lyrics3 or an APE tag that has but a footer.

    Raises InvalidAudio where frames follow, for one of them is damaged, and for much else.
    """
    start = yield from stream.peek(HEAD_BYTES)
    if len(start) < HEAD_BYTES and start[:1] == _FIRST_BYTE:
        stream.require_more("an MP3 frame")
    found = yield from _find_pair(stream, _MOST_TAIL_BYTES)
    if found is not None or stream.n_held >= _MOST_TAIL_BYTES + HEAD_BYTES:
        raise InvalidAudio(
            f"the MP3 stream is damaged: no frame begins at byte {stream.position}, but "
            f"{named(start)}"
        )
    stream.take(stream.n_held)


def _find_pair(stream: ByteStream, most_bytes: int) -> Awaits[tuple[int, FrameHead] | None]:
    """Return behind how many bytes a frame begins that another like it follows, and its head.

    None if there is none behind at most so many bytes, or before the end.
    """
    at = 1
    while at <= most_bytes:
        found = stream.find(_FIRST_BYTE, at)
        if found < 0:
            if stream.is_over:
                return None
            at = stream.n_held
            yield
            continue
        if found > most_bytes:
            break
        start = yield from _held(stream, found)
        if len(start) < HEAD_BYTES:
            return None
        head = FrameHead.of(start)
        if head is not None:
            following = FrameHead.of((yield from _held(stream, found + head.n_bytes)))
            if following is not None and following.is_like(head):
                return found, head
        at = found + 1
    yield from _held(stream, most_bytes)  # so far was looked
    return None


def _held(stream: ByteStream, start: int) -> Awaits[bytes]:
    """Return what would be a frame's head, so far from the next byte; fewer bytes at the end."""
    while stream.n_held < start + HEAD_BYTES and not stream.is_over:
        yield
    return stream.held(start, start + HEAD_BYTES)


def _gap(tag: bytes, head: FrameHead) -> _Gap:
    """Read the tag of LAME (gabriel.mp3-tech.org/mp3infotag.html) behind one of Xing."""
    flags = int.from_bytes(tag[4:8], "big")
    at = 8
    n_frames = int.from_bytes(tag[at : at + 4], "big") if flags & 1 else 0
    for flag, size in ((1, 4), (2, 4), (4, 100), (8, 4)):
        at += size if flags & flag else 0
    lame = tag[at : at + 24]
    if len(lame) < 24 or not lame[:4].isalpha():
        return _Gap()
    delays = int.from_bytes(lame[21:24], "big")
    run_in, padding = delays >> 12, delays & 0xFFF
    left = n_frames * head.n_samples - run_in - padding if n_frames else None
    left = left if left is None else max(0, left)
    return _Gap(run_in + DECODER_DELAY_SAMPLES, left, n_frames)

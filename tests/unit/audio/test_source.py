"""Any encoding, any cut: the same samples; and which bytes are which samples."""

from __future__ import annotations

import functools
import itertools
import struct
from dataclasses import dataclass, field

import numpy as np
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from siren_grpc.audio.byte_stream import ByteStream
from siren_grpc.audio.channels import ChannelMode, ChannelPlan
from siren_grpc.audio.codec import PacketError
from siren_grpc.audio.crc import flac_crc, ogg_crc
from siren_grpc.audio.decode import Encoding
from siren_grpc.audio.flac import FlacFrames, parse_flac
from siren_grpc.audio.mp3 import FrameHead
from siren_grpc.audio.opus import OpusHead, OpusPackets
from siren_grpc.audio.source import AudioSpec, make_source
from siren_grpc.domain.errors import InvalidAudio
from tests.support.audio import RECORDINGS as FOLDER
from tests.support.audio import read_wav
from tests.support.encode import chunk, encode, wav

HERTZ = 16000
SPEECH = read_wav(FOLDER / "digits-male-16k.wav").samples[:20_000]
FLOATS = SPEECH.astype(np.float32) / 32768
STEREO = np.stack([SPEECH, np.roll(SPEECH, 4000) // 2], axis=1)


@dataclass
class Decoded:
    """What came of a stream: samples, the fault it ended with, and what was placed where."""

    samples: np.ndarray
    error: InvalidAudio | None
    hertz: int
    ends: list[int | None] = field(default_factory=list)


def decode(
    encoding: Encoding,
    data: bytes,
    cuts: list[int] | None = None,
    *,
    hertz: int = 0,
    plan: ChannelPlan | None = None,
) -> Decoded:
    source = make_source(AudioSpec(encoding, hertz, plan or ChannelPlan()))
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts or []), len(data)]
    pieces: list[np.ndarray] = []
    ends: list[int | None] = [None] * (len(edges) - 1)
    error = None

    def take(stream) -> None:
        for piece in stream:
            pieces.append(piece)
            for i, end in enumerate(edges[1:]):
                if ends[i] is None and end <= pushed:
                    ends[i] = source.samples_at(end)

    try:
        for a, b in itertools.pairwise(edges):
            pushed = b
            take(source.push(data[a:b]))
        take(source.finish())
    except InvalidAudio as fault:
        error = fault
    samples = np.concatenate([np.zeros(0, np.float32), *pieces])
    return Decoded(samples, error, source.sample_rate_hertz, ends)


@functools.cache
def encoded(kind: str) -> bytes:
    pcm = SPEECH.tobytes()
    if kind == "WAV":
        return wav(pcm, before=chunk(b"LIST", b"INFOx"), behind=chunk(b"id3 ", b"abc"))
    if kind == "WAV live":
        return wav(pcm, data_size=0xFFFFFFFF)
    if kind == "PCM":
        return pcm
    if kind == "FLAC stereo":
        return encode("FLAC", STEREO, HERTZ)
    if kind == "OGG_OPUS voice":
        return encode("OGG_OPUS", SPEECH, HERTZ, application="voip", b="16k", frame_duration="60")
    if kind == "WEBM_OPUS live":
        return encode("WEBM_OPUS", SPEECH, HERTZ, muxer_live="1", muxer_cluster_time_limit="100")
    if kind == "MP3 stereo":
        return encode("MP3", STEREO, HERTZ)
    return encode(kind, SPEECH, HERTZ)


DECLARED = {
    "WAV": Encoding.WAV,
    "WAV live": Encoding.WAV,
    "FLAC": Encoding.FLAC,
    "FLAC stereo": Encoding.FLAC,
    "OGG_FLAC": Encoding.FLAC,
    "OGG_OPUS": Encoding.OGG_OPUS,
    "OGG_OPUS voice": Encoding.OGG_OPUS,
    "WEBM_OPUS": Encoding.WEBM_OPUS,
    "WEBM_OPUS live": Encoding.WEBM_OPUS,
    "MP3": Encoding.MP3,
    "MP3 stereo": Encoding.MP3,
    "PCM": Encoding.AUTO,
}


@functools.cache
def at_once(kind: str) -> Decoded:
    return decode(DECLARED[kind], encoded(kind))


@settings(max_examples=150)
@given(st.data(), st.sampled_from(sorted(DECLARED)), st.booleans())
def test_cutting_does_not_matter(data: st.DataObject, kind: str, is_auto: bool) -> None:
    encoding = Encoding.AUTO if is_auto else DECLARED[kind]
    cuts = data.draw(st.lists(st.integers(0, len(encoded(kind))), max_size=60))
    pieces = decode(encoding, encoded(kind), cuts)
    assert pieces.error is None
    np.testing.assert_array_equal(pieces.samples, at_once(kind).samples)
    assert pieces.ends[-1] == len(pieces.samples), "at the end all of it is accounted for"


@pytest.mark.parametrize("kind", sorted(DECLARED))
def test_a_byte_a_message(kind: str) -> None:
    data = encoded(kind)[:6000] if kind != "MP3" else encoded(kind)
    whole, pieces = decode(DECLARED[kind], data), decode(DECLARED[kind], data, [*range(len(data))])
    np.testing.assert_array_equal(pieces.samples, whole.samples)
    assert str(pieces.error) == str(whole.error)


@settings(max_examples=60)
@given(st.data(), st.sampled_from(sorted(DECLARED)))
def test_a_message_is_accounted_for_when_what_its_bytes_hold_is_decoded(
    data: st.DataObject, kind: str
) -> None:
    """Against the bytes alone: what a message ends with depends on no byte behind it."""
    whole = encoded(kind)
    cuts = data.draw(st.lists(st.integers(1, len(whole) - 1), min_size=1, max_size=8))
    pieces = decode(DECLARED[kind], whole, cuts)
    ends = [*sorted(cuts), len(whole)]
    for cut, end in zip(ends, pieces.ends, strict=True):
        heard = decode(DECLARED[kind], whole[:cut]).samples
        assert end is not None
        assert end >= len(heard), "samples of the message are not accounted for"


@pytest.mark.parametrize("kind", ["WAV", "WAV live", "FLAC", "OGG_FLAC", "PCM"])
def test_lossless_encodings_give_the_samples(kind: str) -> None:
    decoded = at_once(kind)
    assert decoded.hertz == HERTZ
    np.testing.assert_array_equal(decoded.samples, FLOATS)


@pytest.mark.parametrize(
    ("kind", "least_db"),
    [
        ("OGG_OPUS", 20),
        ("OGG_OPUS voice", 8),
        ("WEBM_OPUS", 20),
        ("WEBM_OPUS live", 20),
        ("MP3", 12),
    ],
)
def test_lossy_encodings_shift_no_time(kind: str, least_db: float) -> None:
    """Run-in and padding are left out: length and position are those of the samples sent."""
    decoded = at_once(kind)
    sent = soxr.resample(FLOATS, HERTZ, decoded.hertz)
    live = 960 if kind == "WEBM_OPUS live" else 0  # a live muxer may not say where the audio ends
    assert 0 <= len(decoded.samples) - len(sent) <= live
    heard = decoded.samples[: len(sent)]

    def snr_db(shift: int) -> float:
        a, b = heard[200 + shift : len(sent) - 200 + shift], sent[200:-200]
        return 10 * float(np.log10(np.sum(b**2) / np.sum((a - b) ** 2)))

    assert snr_db(0) > least_db
    assert max(range(-100, 101), key=snr_db) == pytest.approx(0, abs=4), "more than 0.1 ms"


class TestLatency:
    """What is decodable of the bytes so far is there: nothing waits for the bytes behind."""

    @pytest.mark.parametrize(
        ("kind", "packet_samples"), [("FLAC", 1152), ("OGG_OPUS", 960), ("WEBM_OPUS", 960)]
    )
    def test_a_packet_is_heard_with_its_last_byte(self, kind: str, packet_samples: int) -> None:
        data = encoded(kind)
        source = make_source(AudioSpec(DECLARED[kind], 0))
        for i in range(len(data)):
            n = sum(len(piece) for piece in source.push(data[i : i + 1]))
            assert n <= packet_samples, "several packets at once: the first had waited"
        before_end = source.n_samples
        assert sum(len(piece) for piece in source.finish()) == 0
        assert before_end == len(at_once(kind).samples)

    def test_mp3_frames_are_heard_with_their_last_byte(self) -> None:
        source = make_source(AudioSpec(Encoding.MP3, 0))
        data = encoded("MP3")
        for i in range(len(data)):
            assert sum(len(piece) for piece in source.push(data[i : i + 1])) <= 576
        assert source.n_samples == len(at_once("MP3").samples)


def cut_in_every_way(encoding: Encoding, data: bytes) -> list[Decoded]:
    """Decode at once, in messages of 37 and 1000 bytes, and in two, cut before and within its end.

    They must be alike.
    """
    ends = [[], range(0, len(data), 37), range(0, len(data), 1000)]
    ends += [[len(data) - n] for n in (1, 2, 65, 128, 129) if n < len(data)]
    found = [decode(encoding, data, list(cuts)) for cuts in ends]
    for decoded in found:
        np.testing.assert_array_equal(decoded.samples, found[0].samples)
        assert str(decoded.error) == str(found[0].error)
    return found


def rf64(data: bytes, size: int, name: bytes = b"RF64") -> bytes:
    """A file whose chunks say 2**32 - 1 for their sizes. size: of the data, in its ds64 chunk."""
    sizes = chunk(b"ds64", struct.pack("<QQQI", 0, size, size // 2, 0))
    file = wav(data, data_size=0xFFFFFFFF)
    return name + b"\xff\xff\xff\xff" + file[8:12] + sizes + file[12:]


def in_short(data: bytes) -> str:
    return f"{len(data)} bytes, {data[:8]!r}"


TAG = b"TAG" + b"x" * 125
TAILS = [bytes(512), TAG, b"\r\n", b"LIST\xff\xff\0\0INFO", b"\x80" * 100, chunk(b"id3 ", b"abc")]


class TestWav:
    WIDE = np.array([-1.0, -0.5, 0.0, 0.25, 0.99], np.float32)

    @pytest.mark.parametrize(
        ("tag", "bits", "data"),
        [
            (1, 8, bytes([0, 64, 128, 160, 255])),
            (1, 16, (WIDE * 32768).astype("<i2").tobytes()),
            (1, 24, b"".join(int(v * 2**23).to_bytes(3, "little", signed=True) for v in WIDE)),
            (1, 32, (WIDE.astype("f8") * 2**31).astype("<i4").tobytes()),
            (3, 32, WIDE.tobytes()),
            (3, 64, WIDE.astype("<f8").tobytes()),
        ],
    )
    @pytest.mark.parametrize("extensible", [False, True])
    def test_every_kind_of_pcm(self, tag: int, bits: int, data: bytes, extensible: bool) -> None:
        decoded = decode(Encoding.WAV, wav(data, tag=tag, bits=bits, extensible=extensible))
        assert decoded.error is None
        tolerance = {8: 0.01, 16: 1e-4, 24: 1e-6}.get(bits, 1e-7)
        np.testing.assert_allclose(decoded.samples, self.WIDE, atol=tolerance)

    @pytest.mark.parametrize(("tag", "encoding"), [(6, Encoding.ALAW), (7, Encoding.MULAW)])
    def test_telephone_codes(self, tag: int, encoding: Encoding) -> None:
        codes = bytes(range(256))
        decoded = decode(Encoding.WAV, wav(codes, tag=tag, bits=8, hertz=8000))
        np.testing.assert_array_equal(decoded.samples, decode(encoding, codes).samples)
        assert decoded.hertz == 8000

    @pytest.mark.parametrize("size", [0, 0x7FFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF - 36])
    def test_a_size_that_a_live_writer_left_open(self, size: int) -> None:
        decoded = decode(Encoding.WAV, wav(SPEECH.tobytes(), data_size=size), [100, 101, 3000])
        assert decoded.error is None
        np.testing.assert_array_equal(decoded.samples, FLOATS)

    @pytest.mark.parametrize("name", [b"RF64", b"BW64"])
    def test_a_size_of_64_bits_ends_the_data(self, name: bytes) -> None:
        data = rf64(SPEECH.tobytes(), 2 * len(SPEECH), name) + chunk(b"axml", b"<ebu>" * 4001)
        for decoded in cut_in_every_way(Encoding.WAV, data):
            assert decoded.error is None
            np.testing.assert_array_equal(decoded.samples, FLOATS)
        truncated = decode(Encoding.AUTO, rf64(SPEECH.tobytes(), 2 * len(SPEECH) + 2, name))
        assert "truncated" in str(truncated.error)

    @pytest.mark.parametrize("size", [0, 2**32 - 1, 2**64 - 1])
    def test_a_size_of_64_bits_may_be_left_open_too(self, size: int) -> None:
        decoded = decode(Encoding.WAV, rf64(SPEECH.tobytes(), size), [100, 101, 3000])
        assert decoded.error is None
        np.testing.assert_array_equal(decoded.samples, FLOATS)

    @pytest.mark.parametrize("behind", TAILS, ids=in_short)
    def test_what_is_behind_the_data_and_no_file_is_no_audio(self, behind: bytes) -> None:
        for decoded in cut_in_every_way(Encoding.WAV, wav(SPEECH.tobytes()) + behind):
            assert decoded.error is None
            np.testing.assert_array_equal(decoded.samples, FLOATS)
        source = make_source(AudioSpec(Encoding.WAV, 0))
        list(source.push(wav(bytes(8)) + behind))
        list(source.push(bytes(1 << 20)))
        assert source._bytes.n_held < 8

    @pytest.mark.parametrize("pad", [b"", b"\0"])
    def test_data_of_an_odd_size_may_be_padded(self, pad: bytes) -> None:
        odd = wav(bytes([128] * 15), bits=8) + pad + chunk(b"LIST", b"INFO") + wav(bytes(4), bits=8)
        for decoded in cut_in_every_way(Encoding.WAV, odd):
            assert decoded.error is None
            assert len(decoded.samples) == 19

    def test_files_one_behind_the_other_are_one_stream(self) -> None:
        data = wav(SPEECH.tobytes()) + wav(SPEECH[:999].tobytes())
        decoded = decode(Encoding.AUTO, data, [44, len(data) // 2])
        np.testing.assert_array_equal(decoded.samples, np.concatenate([FLOATS, FLOATS[:999]]))

    def test_a_chunk_before_the_data_is_not_kept(self) -> None:
        before = b"JUNK" + (1 << 31).to_bytes(4, "little")
        source = make_source(AudioSpec(Encoding.WAV, 0))
        list(source.push(wav(b"", before=before)[:-8]))
        for _ in range(64):
            list(source.push(bytes(1 << 20)))
        assert source._bytes.n_held == 0

    @pytest.mark.parametrize(
        ("data", "says"),
        [
            (b"RIFF\x00\x00\x00\x00AVI LIST", "not a WAV file"),
            (wav(bytes(8), tag=0x55), "holds MP3"),
            (wav(bytes(8), tag=0x11, bits=4), "IMA ADPCM"),
            (wav(bytes(8), bits=12), "12-bit samples"),
            (wav(bytes(8), n_channels=0), "contradicts itself: 0 channels"),
            (wav(bytes(18), n_channels=9), "9 channels; send 1 to 8"),
            (wav(bytes(8), hertz=4_000_000_000), "4000000000 Hz"),
            (wav(bytes(8), hertz=0), "of 0 Hz"),
            (wav(bytes(7)), "ends within a sample"),
            (wav(bytes(8), data_size=100), "truncated"),
            (wav(bytes(9), data_size=0), "within a sample of the WAV file"),
            (wav(b"")[:30], "truncated"),
            (wav(b"")[:12] + b"data\x08\0\0\0" + bytes(8), "before its fmt chunk"),
            (wav(bytes(4), before=b"\x00\x01\x02\x03garbage"), "where a chunk should begin"),
            (wav(bytes(4), before=chunk(b"ds64", bytes(8))), "ds64 chunk has 8 bytes"),
            (wav(np.array([np.inf], "<f4").tobytes(), tag=3, bits=32), "NaN or infinity"),
        ],
    )
    def test_what_is_wrong_is_said(self, data: bytes, says: str) -> None:
        error = decode(Encoding.WAV, data).error
        assert error is not None
        assert says in error.message


def pages(data: bytes) -> list[bytearray]:
    """Cut an Ogg stream into its pages."""
    found = []
    while data:
        n_bytes = 27 + data[26] + sum(data[27 : 27 + data[26]])
        found.append(bytearray(data[:n_bytes]))
        data = data[n_bytes:]
    return found


def joined(pages: list[bytearray], *, serial: int) -> bytes:
    """Join pages, numbered anew, of a serial number and with right checksums."""
    for number, page in enumerate(pages):
        page[14:26] = struct.pack("<III", serial, number, 0)
        page[22:26] = ogg_crc().update(0, bytes(page)).to_bytes(4, "little")
    return b"".join(pages)


class TestWebm:
    HEAD = bytes.fromhex("1a45dfa3 87 4282 84") + b"webm"
    TRACKS = bytes.fromhex("18538067 01ffffffffffffff 1654ae6b 01ffffffffffffff")

    def test_one_that_ends_between_elements_before_its_end_is_truncated(self) -> None:
        whole = encoded("WEBM_OPUS")
        cues = whole.rindex(bytes.fromhex("1c53bb6b"))
        decoded = decode(Encoding.WEBM_OPUS, whole[:cues])
        assert decoded.error is not None
        assert f"ends after {cues} of {len(whole)} bytes: it is truncated" in decoded.error.message
        np.testing.assert_array_equal(decoded.samples, at_once("WEBM_OPUS").samples)

    def test_an_element_without_measure_is_not_kept(self) -> None:
        track = b"\xae" + (0x10000000 | (1 << 20) + 1).to_bytes(4, "big")
        error = decode(Encoding.WEBM_OPUS, self.HEAD + self.TRACKS + track).error
        assert error is not None
        assert "an element of 1048577 bytes" in error.message

    def test_encrypted_audio_is_told(self) -> None:
        head = pages(encoded("OGG_OPUS"))[0][28:]
        said = b"\xd7\x81\x01" + b"\x86\x86A_OPUS" + b"\x63\xa2" + bytes([0x80 | len(head)]) + head
        track = said + b"\x6d\x80\x80"
        data = self.HEAD + self.TRACKS + b"\xae" + bytes([0x80 | len(track)]) + track
        error = decode(Encoding.WEBM_OPUS, data).error
        assert error is not None
        assert "encrypted" in error.message


class TestOgg:
    @pytest.mark.parametrize("kind", ["OGG_OPUS", "OGG_FLAC"])
    @pytest.mark.parametrize("serial", [1, 2])
    @pytest.mark.parametrize("is_cut_short", [False, True])
    def test_a_chain_is_heard_to_its_end(self, kind: str, serial: int, is_cut_short: bool) -> None:
        one = pages(encoded(kind))
        first = joined(one[:-1] if is_cut_short else one, serial=1)
        second = joined(pages(encoded(kind)), serial=serial)
        heard = [decode(DECLARED[kind], part).samples for part in (first, second)]
        both = decode(DECLARED[kind], first + second, [*range(0, len(first + second), 997)])
        assert both.error is None
        np.testing.assert_array_equal(both.samples, np.concatenate(heard))

    def test_of_streams_that_begin_together_the_first_is_heard(self) -> None:
        one, other = pages(encoded("OGG_OPUS")), pages(encoded("OGG_OPUS voice"))
        data = joined(one, serial=1)
        head, rest = data[: len(one[0])], data[len(one[0]) :]
        decoded = decode(Encoding.OGG_OPUS, head + joined(other, serial=2) + rest)
        assert decoded.error is None
        np.testing.assert_array_equal(decoded.samples, at_once("OGG_OPUS").samples)

    def test_a_page_that_is_missing_is_told(self) -> None:
        whole = pages(encode("OGG_OPUS", SPEECH, HERTZ, muxer_page_duration="100000"))
        decoded = decode(Encoding.OGG_OPUS, b"".join(whole[:5] + whole[6:]))
        assert decoded.error is not None
        assert "lacks pages: number 6 follows 4" in decoded.error.message
        assert len(decoded.samples) > 0, "what came before it is heard"

    @pytest.mark.parametrize("at", [3, 4])
    def test_a_page_that_goes_on_with_no_packet_is_told(self, at: int) -> None:
        whole = pages(encode("OGG_OPUS", SPEECH, HERTZ, muxer_page_duration="100000"))
        whole[at][5] |= 1
        error = decode(Encoding.OGG_OPUS, joined(whole, serial=1)).error
        assert error is not None
        assert f"page {at} lacks a packet" in error.message

    def test_a_packet_without_end_is_not_kept(self) -> None:
        head, tags, *_ = pages(encoded("OGG_OPUS"))
        endless = [
            bytearray(b"OggS\0" + bytes([bool(i)]) + bytes(20) + b"\xff" * 256 + bytes(255 * 255))
            for i in range(20)
        ]
        error = decode(Encoding.OGG_OPUS, joined([head, tags, *endless], serial=1)).error
        assert error is not None
        assert "a packet of over 1048576 bytes" in error.message

    def test_a_packet_longer_than_any_is_told(self) -> None:
        packets = OpusPackets(OpusHead.of(pages(encoded("OGG_OPUS"))[0][28:]))
        frames_of_60_ms, several = 3 << 3, 3
        with pytest.raises(PacketError, match="longer than 120 ms"):
            packets.decode(bytes([frames_of_60_ms | several, 3]) + bytes(30))

    def test_a_picture_is_not_kept(self) -> None:
        head, *rest = pages(encoded("OGG_FLAC"))
        picture = b"\x06" + bytes(255 * 255 * 20 - 1)
        parts = [picture[i : i + 255 * 255] for i in range(0, len(picture), 255 * 255)]
        of_picture = [
            bytearray(b"OggS\0" + bytes([bool(i)]) + bytes(20) + b"\xff" + b"\xff" * 255 + part)
            for i, part in enumerate(parts)
        ]
        of_picture.append(bytearray(b"OggS\0\x01" + bytes(20) + b"\x01\0"))
        data = joined([head, *of_picture, *rest], serial=1)
        decoded = decode(Encoding.FLAC, data, [*range(0, len(data), 50_000)])
        assert decoded.error is None
        np.testing.assert_array_equal(decoded.samples, FLOATS)


class TestFlac:
    @pytest.mark.parametrize("kind", ["FLAC", "FLAC stereo"])
    @pytest.mark.parametrize("tail", [b"", TAG, bytes(64), b"\0", TAG + bytes(99)], ids=in_short)
    def test_a_tag_and_padding_behind_the_last_frame_are_none(self, kind: str, tail: bytes) -> None:
        for decoded in cut_in_every_way(Encoding.FLAC, encoded(kind) + tail):
            assert decoded.error is None
            np.testing.assert_array_equal(decoded.samples, at_once(kind).samples)

    @pytest.mark.parametrize(
        ("tail", "says"),
        [(encoded("FLAC"), "another FLAC stream begins at byte"), (b"xyz", "78 79")],
    )
    def test_anything_else_is_told_behind_all_audio(self, tail: bytes, says: str) -> None:
        for decoded in cut_in_every_way(Encoding.FLAC, encoded("FLAC") + tail):
            assert says in str(decoded.error)
            np.testing.assert_array_equal(decoded.samples, FLOATS)

    def test_bytes_made_to_be_decoded_again_and_again_are_refused_soon(self) -> None:
        """Where the CRC is 0 it stays so with each zero behind: any of them may end the frame."""
        whole = encoded("FLAC")
        at = whole.index(b"\xff\xf8")
        begin = whole[at : at + 8]
        begin += flac_crc().update(0, begin).to_bytes(2, "big")
        n_tried = 0

        class Counting(FlacFrames):
            def decode(self, frame: bytes) -> np.ndarray:
                nonlocal n_tried
                n_tried += 1
                raise PacketError("not yet")

        stream = ByteStream()
        stream.feed(whole[:at] + begin + bytes(200_000))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("siren_grpc.audio.flac.FlacFrames", Counting)
            with pytest.raises(InvalidAudio, match="damaged"):
                list(parse_flac(stream))
        assert n_tried == 100

    def test_zeros_in_place_of_audio_are_not_padding(self) -> None:
        whole = encoded("FLAC")
        decoded = decode(Encoding.FLAC, whole[: len(whole) // 2] + bytes(len(whole) // 2))
        assert decoded.error is not None


def of_mp3(data: bytes) -> tuple[bytes, list[bytes]]:
    """Cut an MP3 stream into its tag, and its frames."""
    at = 10 + int.from_bytes(data[8:10], "big") if data[:3] == b"ID3" else 0
    tag, frames = data[:at], []
    while at < len(data):
        head = FrameHead.of(data[at : at + 4])
        assert head is not None
        frames.append(data[at : at + head.n_bytes])
        at += head.n_bytes
    return tag, frames


class TestMp3:
    APE = b"\x03\0\0\0\0\0\0\0Key\0abcAPETAGEX" + struct.pack("<IIII", 2000, 47, 1, 0) + bytes(8)
    LYRICS = b"LYRICSBEGININD0000200LYR00010hello world000046LYRICS200" + TAG

    def test_a_tag_with_a_checksum_before_it_is_read(self) -> None:
        tag, (first, *rest) = of_mp3(encoded("MP3"))
        assert b"Info" in first or b"Xing" in first
        first = bytes([first[0], first[1] & 0xFE, *first[2:4], 0xAB, 0xCD, *first[6:]])
        decoded = decode(Encoding.MP3, tag + first + b"".join(rest))
        assert decoded.error is None
        np.testing.assert_array_equal(decoded.samples, at_once("MP3").samples)

    @pytest.mark.parametrize("tail", [APE, LYRICS, b"\r\n", b"xyz", b"TAG+" + b"x" * 223 + TAG])
    def test_a_little_behind_the_last_frame_is_skipped(self, tail: bytes) -> None:
        for decoded in cut_in_every_way(Encoding.MP3, encoded("MP3") + tail):
            assert decoded.error is None
            np.testing.assert_array_equal(decoded.samples, at_once("MP3").samples)

    def test_much_behind_it_or_frames_are_damage(self) -> None:
        _, frames = of_mp3(encoded("MP3"))
        for tail in (b"x" * 70_000, b"junk" + b"".join(frames[5:7]), b"\xff"):
            found = cut_in_every_way(Encoding.MP3, encoded("MP3") + tail)
            assert ("truncated" if tail == b"\xff" else "damaged") in str(found[0].error)
            np.testing.assert_array_equal(found[0].samples, at_once("MP3").samples)

    @pytest.mark.parametrize("encoding", [Encoding.MP3, Encoding.AUTO])
    @pytest.mark.parametrize("padding", [bytes(1), bytes(10_000), b"junk", bytes(20) + b"junk"])
    def test_a_little_between_a_tag_and_the_first_frame_is_skipped(
        self, encoding: Encoding, padding: bytes
    ) -> None:
        _, frames = of_mp3(encoded("MP3"))
        data = b"ID3\x03\0\0\0\0\0\x0a" + bytes(10) + padding + b"".join(frames)
        for decoded in cut_in_every_way(encoding, data):
            assert decoded.error is None
            np.testing.assert_array_equal(decoded.samples, at_once("MP3").samples)

    def test_a_stream_that_is_joined_begins_within_a_frame(self) -> None:
        _, frames = of_mp3(encoded("MP3"))
        for start in (3, 40):
            data = b"".join(frames[2:])[start:]
            (joined_, *_) = cut_in_every_way(Encoding.MP3, data)
            assert joined_.error is None
            assert len(joined_.samples) == 576 * len(frames[3:])

    def test_so_much_without_a_frame_is_no_mp3(self) -> None:
        data = b"x" * 5000 + encoded("MP3")
        assert "text (" in str(cut_in_every_way(Encoding.MP3, data)[0].error)


def test_a_long_block_of_another_track_of_webm_is_skipped() -> None:
    def element(name: bytes, data: bytes) -> bytes:
        return name + (1 << 56 | len(data)).to_bytes(8, "big") + data

    video = element(b"\xa1", b"\x82\0\0\0" + bytes(1 << 20))
    group = element(b"\xa0", video + element(b"\x9b", b"\x21"))
    data = encoded("WEBM_OPUS live") + group + element(b"\xa3", b"\x82\0\0\0" + bytes(1 << 20))
    source = make_source(AudioSpec(Encoding.WEBM_OPUS, 0))
    for start in range(0, len(data), 1 << 16):
        list(source.push(data[start : start + (1 << 16)]))
        assert source._bytes.n_held < 1 << 17
    list(source.finish())
    assert source.n_samples == len(at_once("WEBM_OPUS live").samples)


LIES = [
    (Encoding.FLAC, "MP3", "not a FLAC stream: it begins with MP3"),
    (Encoding.WAV, "OGG_OPUS", "not a WAV file: it begins with Ogg"),
    (Encoding.OGG_OPUS, "WEBM_OPUS", "begins with WebM"),
    (Encoding.OGG_OPUS, "OGG_FLAC", "the Ogg stream holds FLAC; send Opus"),
    (Encoding.FLAC, "OGG_OPUS", "the Ogg stream holds Opus; send FLAC"),
    (Encoding.WEBM_OPUS, "WAV", "begins with a RIFF file"),
    (Encoding.MP3, "FLAC", "FLAC where a frame"),
]


@pytest.mark.parametrize(("encoding", "kind", "says"), LIES)
def test_what_is_something_else_is_refused(encoding: Encoding, kind: str, says: str) -> None:
    decoded = decode(encoding, encoded(kind))
    assert decoded.error is not None
    assert says in decoded.error.message
    assert len(decoded.samples) == 0


@pytest.mark.parametrize("kind", ["MP3", "WAV", "OGG_OPUS"])
def test_files_behind_one_another_are_heard_one_after_the_other(kind: str) -> None:
    once = decode(DECLARED[kind], encoded(kind))
    twice = decode(DECLARED[kind], 2 * encoded(kind))
    assert twice.error is None
    np.testing.assert_array_equal(twice.samples, np.tile(once.samples, 2))


def test_an_mp3_file_without_a_tag_behind_one_with_is_heard() -> None:
    tagged = encoded("MP3")
    plain = encode("MP3", SPEECH, HERTZ, write_xing="0")
    both = decode(Encoding.MP3, tagged + plain)
    assert both.error is None
    n_samples = len(decode(Encoding.MP3, tagged).samples) + len(decode(Encoding.MP3, plain).samples)
    assert len(both.samples) == n_samples


CONTAINED = [encoding for encoding in Encoding if not encoding.is_raw]


@pytest.mark.parametrize("encoding", [e for e in CONTAINED if e is not Encoding.AUTO])
@pytest.mark.parametrize(
    ("data", "says"),
    [(b"hello, this is a text", "text ("), (b"\x01\x02\x03\x04\x05", "01 02")],
)
def test_what_is_no_audio_is_named(encoding: Encoding, data: bytes, says: str) -> None:
    error = decode(encoding, data).error
    assert error is not None
    assert says in error.message


@pytest.mark.parametrize("encoding", CONTAINED)
def test_of_no_bytes_nothing_is_missing(encoding: Encoding) -> None:
    decoded = decode(encoding, b"")
    assert decoded.error is None
    assert len(decoded.samples) == 0


TRUNCATABLE = ["WAV", "FLAC", "OGG_FLAC", "OGG_OPUS", "WEBM_OPUS", "MP3"]


@pytest.mark.parametrize("kind", TRUNCATABLE)
def test_truncated_audio_is_heard_as_far_as_it_goes(kind: str) -> None:
    data = encoded(kind)
    decoded = decode(DECLARED[kind], data[: len(data) * 2 // 3 + 1])
    whole = at_once(kind).samples
    assert decoded.error is not None
    assert "truncated" in decoded.error.message
    assert len(whole) * 0.4 < len(decoded.samples) < len(whole)
    np.testing.assert_array_equal(decoded.samples, whole[: len(decoded.samples)])


@pytest.mark.parametrize("kind", ["FLAC", "OGG_FLAC", "OGG_OPUS"])
def test_damage_that_a_checksum_tells_is_refused(kind: str) -> None:
    data = bytearray(encoded(kind))
    data[len(data) // 2] ^= 0x40
    decoded = decode(DECLARED[kind], bytes(data))
    assert decoded.error is not None
    assert "damaged" in decoded.error.message


@settings(max_examples=200)
@given(
    st.sampled_from(sorted(DECLARED)),
    st.lists(st.tuples(st.integers(0, 1 << 30), st.integers(1, 255)), min_size=1, max_size=6),
    st.booleans(),
)
def test_no_damage_does_more_than_end_the_stream(
    kind: str, damage: list[tuple[int, int]], is_head: bool
) -> None:
    """Whatever the bytes: samples, or InvalidAudio, and bounded either way."""
    data = bytearray(encoded(kind))
    reach = min(len(data), 400) if is_head else len(data)
    for at, bits in damage:
        data[at % reach] ^= bits
    decoded = decode(DECLARED[kind], bytes(data), [500, 5000])
    assert len(decoded.samples) < 100 * 48000


@settings(max_examples=200)
@given(
    st.sampled_from(CONTAINED),
    st.sampled_from([b"", b"RIFF", b"fLaC", b"OggS", b"\x1a\x45\xdf\xa3", b"ID3", b"\xff\xfb\x90"]),
    st.binary(max_size=300),
)
def test_no_bytes_do_more_than_end_the_stream(encoding: Encoding, head: bytes, data: bytes) -> None:
    decode(encoding, head + data, [10, 100])


def test_auto_takes_any_other_bytes_for_linear16() -> None:
    pcm = b"\xff\xfb\x90\x64" + SPEECH.tobytes()  # begins like a frame of MP3, once
    decoded = decode(Encoding.AUTO, pcm, [1, 2, 3, 4, 700], hertz=8000)
    assert decoded.hertz == 8000
    np.testing.assert_array_equal(decoded.samples, np.frombuffer(pcm, "<i2").astype("f4") / 32768)


@pytest.mark.parametrize(
    ("kind", "hertz", "is_right"),
    [
        ("WAV", 16000, True),
        ("WAV", 8000, False),
        ("FLAC", 44100, False),
        ("OGG_OPUS", 48000, True),
        ("OGG_OPUS", 16000, False),
        ("MP3", 16000, True),
    ],
)
def test_a_rate_that_contradicts_the_audio_is_refused(
    kind: str, hertz: int, is_right: bool
) -> None:
    error = decode(DECLARED[kind], encoded(kind), hertz=hertz).error
    assert (error is None) is is_right
    if error is not None:
        assert f"sample_rate_hertz is {hertz}" in error.message


def test_opus_is_called_by_the_rate_its_header_names_too() -> None:
    data = bytearray(encoded("WEBM_OPUS"))
    at = data.index(b"OpusHead") + 12
    data[at : at + 4] = (24_000).to_bytes(4, "little")
    for hertz, is_right in ((24_000, True), (48_000, True), (16_000, False)):
        decoded = decode(Encoding.WEBM_OPUS, bytes(data), hertz=hertz)
        assert (decoded.error is None) is is_right
        if is_right:
            assert decoded.hertz == 48_000


class TestCompression:
    """A little of it may be a lot of audio: no more is decoded than is asked for."""

    def test_silence_comes_a_second_at_a_time(self) -> None:
        silence = encode("FLAC", np.zeros(HERTZ * 120, np.int16), HERTZ)
        assert len(silence) < 40_000
        source = make_source(AudioSpec(Encoding.FLAC, 0))
        pieces = iter(source.push(silence))
        assert len(next(pieces)) < 2 * HERTZ
        assert source.n_samples < 2 * HERTZ
        assert source.n_samples + sum(len(piece) for piece in pieces) == HERTZ * 120

    def test_tags_are_not_kept(self) -> None:
        source = make_source(AudioSpec(Encoding.MP3, 0))
        list(source.push(b"ID3\x04\x00\x00\x7f\x7f\x7f\x7f"))
        for _ in range(32):
            list(source.push(bytes(1 << 20)))
        assert source._bytes.n_held == 0


class TestChannels:
    RIGHT = STEREO[:, 1].astype(np.float32) / 32768

    @pytest.mark.parametrize("kind", ["FLAC", "WAV", "PCM"])
    def test_mix_and_select(self, kind: str) -> None:
        pcm = STEREO.tobytes()
        data = {"FLAC": encoded("FLAC stereo"), "WAV": wav(pcm, n_channels=2), "PCM": pcm}[kind]
        encoding = Encoding.LINEAR16 if kind == "PCM" else Encoding.AUTO
        count = 2 if kind == "PCM" else 0
        cuts = [1, 3, 1001]

        def heard(plan: ChannelPlan) -> np.ndarray:
            return decode(encoding, data, cuts, plan=plan).samples

        select = ChannelMode.SELECT
        np.testing.assert_array_equal(heard(ChannelPlan(count, select, 0)), FLOATS)
        np.testing.assert_array_equal(heard(ChannelPlan(count, select, 1)), self.RIGHT)
        np.testing.assert_allclose(heard(ChannelPlan(count)), (FLOATS + self.RIGHT) / 2, atol=1e-7)

    def test_half_of_a_point_in_time_is_half_a_sample(self) -> None:
        error = decode(Encoding.LINEAR16, bytes(6), plan=ChannelPlan(2)).error
        assert error is not None
        assert "6 bytes of LINEAR16 in 2 channels (4 bytes a sample)" in error.message

    @pytest.mark.parametrize(
        ("plan", "says"),
        [
            (ChannelPlan(1), "channel_count is 1, but"),
            (ChannelPlan(0, ChannelMode.SELECT, 2), "config.channel is 2, but"),
        ],
    )
    def test_channels_the_audio_has_not(self, plan: ChannelPlan, says: str) -> None:
        error = decode(Encoding.FLAC, encoded("FLAC stereo"), plan=plan).error
        assert error is not None
        assert says in error.message
        assert "2 channels" in error.message

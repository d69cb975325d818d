"""Audio that is not what the config says: damaged files, and numbers that are no sound."""

from __future__ import annotations

import struct
from random import Random

from siren.v1 import speech_pb2 as pb

_MAGIC = {
    pb.AUDIO_ENCODING_WAV: b"RIFF\xff\xff\xff\x7fWAVEfmt \x10\0\0\0",
    pb.AUDIO_ENCODING_FLAC: b"fLaC\x80\0\0\x22",
    pb.AUDIO_ENCODING_OGG_OPUS: b"OggS\0\x02\0\0\0\0\0\0\0\0",
    pb.AUDIO_ENCODING_WEBM_OPUS: b"\x1a\x45\xdf\xa3\x01\xff\xff\xff\xff\xff\xff\xff",
    pb.AUDIO_ENCODING_MP3: b"ID3\x04\0\0\x7f\x7f\x7f\x7f",
}
_MORE_MAGIC = b"\xff\xfb\x90\x64"
_SIZES = (1, 7, 200, 3000)


def wav_header(*, channels: int, hertz: int, block: int, bits: int, format_tag: int = 1) -> bytes:
    """Return the beginning of a WAV file that says so; nothing of it need make sense."""
    rate = hertz * block & 0xFFFFFFFF
    fmt = struct.pack("<HHIIHH", format_tag, channels, hertz, rate, block, bits)
    return b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0" + fmt + b"data\xff\xff\xff\xff"


def corrupt(random: Random) -> tuple[str, pb.AudioEncoding.ValueType, list[bytes]]:
    """Return what it is in words, the encoding it claims, and the data of its messages."""
    kind = random.choice(("file", "wav", "auto", "float", "pieces"))
    tail = random.randbytes(random.choice(_SIZES))
    if kind == "file":
        encoding, magic = random.choice(list(_MAGIC.items()))
        return "damaged file", encoding, [magic + tail]
    if kind == "wav":
        header = wav_header(
            channels=random.choice((0, 1, 2, 65_535)),
            hertz=random.choice((0, 1, 8000, 2**32 - 1)),
            block=random.choice((0, 1, 2, 65_535)),
            bits=random.choice((0, 1, 8, 16, 65_535)),
            format_tag=random.choice((0, 1, 3, 6, 7, 0xFFFE, 0xFFFF)),
        )
        return "impossible WAV header", pb.AUDIO_ENCODING_WAV, [header + tail]
    if kind == "auto":
        magic = random.choice([*_MAGIC.values(), _MORE_MAGIC, b""])
        return "detected by chance", pb.AUDIO_ENCODING_AUTO, [magic[: random.randint(0, 9)] + tail]
    if kind == "float":
        values = random.choices((float("nan"), float("inf"), -3e38, 1e-45, 0.0, -0.0), k=80)
        return "no numbers", pb.AUDIO_ENCODING_FLOAT32, [struct.pack("<80f", *values)]
    pieces = [random.randbytes(random.randint(0, 3)) for _ in range(30)]
    return "crumbs", random.choice((pb.AUDIO_ENCODING_LINEAR16, pb.AUDIO_ENCODING_MULAW)), pieces

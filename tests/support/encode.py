"""Audio in the encodings the server decodes, made with PyAV or by hand."""

from __future__ import annotations

import io
import struct

import av
import numpy as np

CONTAINERS = {
    "FLAC": ("flac", "flac"),
    "OGG_OPUS": ("ogg", "libopus"),
    "WEBM_OPUS": ("webm", "libopus"),
    "MP3": ("mp3", "libmp3lame"),
    "OGG_FLAC": ("ogg", "flac"),
}


def encode(kind: str, samples: np.ndarray, hertz: int, **options: str) -> bytes:
    """Encode int16 samples, [n_samples] or [n_samples, n_channels], as a file of a container.

    options: those of libav's encoder, and `muxer_...` for the muxer.
    """
    muxer, codec = CONTAINERS[kind]
    columns = samples.reshape(len(samples), -1)
    layout = {1: "mono", 2: "stereo", 6: "5.1"}[columns.shape[1]]
    for_muxer = {k.removeprefix("muxer_"): v for k, v in options.items() if k.startswith("muxer_")}
    for_codec = {k: v for k, v in options.items() if not k.startswith("muxer_")}
    file = io.BytesIO()
    rate = 48000 if "OPUS" in kind else hertz
    resampler = av.AudioResampler(format=None, layout=layout, rate=rate)
    with av.open(file, "w", format=muxer, container_options=for_muxer) as container:
        stream = container.add_stream(codec, rate=rate, layout=layout, options=for_codec)
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(columns).reshape(1, -1), format="s16", layout=layout
        )
        frame.sample_rate = hertz
        frame.pts = 0
        for resampled in (*resampler.resample(frame), *resampler.resample(None)):
            for packet in stream.encode(resampled):
                container.mux(packet)
        for packet in stream.encode(None):
            container.mux(packet)
    return file.getvalue()


def wav(
    data: bytes,
    *,
    hertz: int = 16000,
    n_channels: int = 1,
    tag: int = 1,
    bits: int = 16,
    data_size: int | None = None,
    before: bytes = b"",
    behind: bytes = b"",
    extensible: bool = False,
) -> bytes:
    """A WAV file of samples as they are. before, behind: chunks around its data."""
    frame_bytes = n_channels * bits // 8
    head = 0xFFFE if extensible else tag
    fmt = struct.pack("<HHIIHH", head, n_channels, hertz, 0, frame_bytes, bits)
    if extensible:
        guid = struct.pack("<H", tag) + bytes.fromhex("000000001000800000aa00389b71")
        fmt += struct.pack("<HHI", 22, bits, 0) + guid
    size = len(data) if data_size is None else data_size
    body = chunk(b"fmt ", fmt) + before + b"data" + struct.pack("<I", size) + data
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WAVE" + body + behind


def chunk(name: bytes, data: bytes) -> bytes:
    """A RIFF chunk."""
    return name + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)

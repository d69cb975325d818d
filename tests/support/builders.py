"""Small, valid objects for tests that care about one thing in them."""

from __future__ import annotations

import numpy as np

from siren_grpc.audio.channels import ChannelPlan
from siren_grpc.audio.decode import Encoding
from siren_grpc.audio.source import AudioSpec
from siren_grpc.domain.geometry import (
    BufferedContext,
    BufferedGeometry,
    ChunkGeometry,
    FeatureGeometry,
)
from siren_grpc.domain.model import DecoderKind, Lane, ModelInfo
from siren_grpc.domain.work import Chunk, Preview, StreamOptions
from siren_grpc.session.ingress import Ingress, IngressConfig

FEATURES = FeatureGeometry(
    sample_rate_hertz=16000, hop_samples=160, window_samples=400, subsampling=8
)
LANE = Lane(2, DecoderKind.RNNT)


def make_geometry(chunk_frames: int = 2) -> ChunkGeometry:
    """Chunks of the geometry every NeMo model of the project has."""
    return ChunkGeometry(FEATURES, chunk_frames)


def make_buffered_geometry(context: BufferedContext) -> BufferedGeometry:
    """Chunks of an offline model that hears so much around each."""
    return BufferedGeometry(FEATURES, context.chunk_frames, context)


def make_info(**changes: object) -> ModelInfo:
    """A model that spells tokens 0 to 25 as letters and 26 to 51 as words' first letters."""
    letters = [chr(ord("a") + i) for i in range(26)]
    values: dict[str, object] = {
        "id": "test-model",
        "family": "arithmetic",
        "language_codes": ("en", "de-DE"),
        "features": FEATURES,
        "look_aheads": (2, 7),
        "default_chunk_frames": 7,
        "decoders": (DecoderKind.RNNT, DecoderKind.CTC),
        "token_texts": (*letters, *(f" {letter}" for letter in letters)),
        "punctuation": frozenset(".,?"),
    }
    return ModelInfo(**(values | changes))  # type: ignore[arg-type]


def make_ingress(
    *,
    encoding: Encoding = Encoding.LINEAR16,
    hertz: int = 16000,
    channels: ChannelPlan | None = None,
    chunk_frames: int = 2,
    preview_samples: int = 0,
    padding_samples: int = 0,
    max_samples: int | None = None,
    options: StreamOptions | None = None,
) -> Ingress:
    """An ingress without previews and padding, unless asked for."""
    return Ingress(
        IngressConfig(
            audio=AudioSpec(encoding, hertz, channels or ChannelPlan()),
            geometry=make_geometry(chunk_frames),
            preview_samples=preview_samples,
            padding_samples=padding_samples,
            max_samples=max_samples,
            options=options or StreamOptions(),
        )
    )


def make_chunk(value: float = 0.0, *, is_first: bool = False, end: int = 0, seq: int = 0) -> Chunk:
    """A whole chunk of one value."""
    geometry = make_geometry()
    samples = np.full(geometry.chunk_samples(is_first=is_first), value, np.float32)
    return Chunk(samples, geometry.feature_frames(is_first=is_first), is_first, end, seq)


def make_preview(value: float = 0.0, *, end: int = 0, seq: int = 0) -> Preview:
    """A preview of half a chunk."""
    samples = np.full(make_geometry().chunk_samples(is_first=False) // 2, value, np.float32)
    return Preview(samples, 8, is_first=False, end_samples=end, seq=seq)

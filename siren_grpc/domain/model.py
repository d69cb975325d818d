"""What a loaded model is, what it offers, and what streams ask of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from siren_grpc.domain.geometry import (
    BufferedContext,
    BufferedGeometry,
    ChunkGeometry,
    FeatureGeometry,
)

AUTO_LANGUAGE = "auto"
"""The language code under which a model finds out by itself what is spoken."""
LANGUAGE_TAG = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8})*")
"""BCP-47 (RFC 5646, 2.1), but for the long primary subtags, none of which is in use."""


class DecoderKind(str, Enum):
    """The part of a model that turns encoder frames into tokens."""

    RNNT = "rnnt"
    CTC = "ctc"
    TDT = "tdt"
    """RNNT that also predicts how many frames each token lasts, and skips them."""


class EncoderCache(str, Enum):
    """What a cache-aware encoder keeps of its left context.

    KEYS_VALUES: keys and values as projected, nothing of which is computed twice. INPUTS: what
    goes into each layer, as NeMo does: less memory, and more work in a step.
    """

    KEYS_VALUES = "keys_values"
    INPUTS = "inputs"


class Precision(str, Enum):
    """How an encoder's linear layers multiply; everything else is float32.

    BF16, FP16: bfloat16 and float16 products. INT8: dynamic 8-bit quantisation, on a CPU only.
    """

    FP32 = "fp32"
    BF16 = "bf16"
    FP16 = "fp16"
    INT8 = "int8"


@dataclass(frozen=True, slots=True)
class Lane:
    """What sessions must have in common to be advanced in one batch.

    model: `ModelInfo.key` of the model, or what a client calls it; empty where there is only one.
    """

    chunk_frames: int
    decoder: DecoderKind
    model: str = ""


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """What one stream asks of the model beyond its lane; streams of a batch may differ in it.

    language_code: one of `ModelInfo.language_codes`; empty for the first.
    """

    language_code: str = ""


DEFAULT_MODEL_OPTIONS = ModelOptions()
"""Of a stream that asks for nothing."""


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What a loaded model is and what it offers."""

    id: str
    family: str
    language_codes: tuple[str, ...]
    """BCP-47 codes, and AUTO_LANGUAGE where the model finds out by itself; the default first;
    the latter alone where nothing tells what it recognises."""
    features: FeatureGeometry
    look_aheads: tuple[int, ...]
    """`chunk_frames` the model was trained for or, buffered, is offered with; ascending."""
    default_chunk_frames: int
    decoders: tuple[DecoderKind, ...]
    """The default first."""
    token_texts: tuple[str | int | None, ...]
    """Text of each token, a leading space marking the start of a word; an int is a raw byte, None
    a mark that is no text and takes the space before it along, such as a language tag."""
    punctuation: frozenset[str]
    """Marks that take no space before them."""
    end_tokens: frozenset[int] = frozenset()
    """Ids of tokens such as `<EOU>`, by which the model says that a speaker has finished."""
    language_tags: Mapping[int, str] = field(default_factory=dict, hash=False)
    """The code of the language that a token says the sentence before it was in, by its id."""
    hears_voice: bool = False
    """Whether its steps tell speech from silence where a chunk asks for it."""
    buffered: tuple[BufferedContext, ...] = ()
    """The window of each look-ahead, in their order; empty for a cache-aware model."""
    biasing_decoders: tuple[DecoderKind, ...] = ()
    """Those of `decoders` that take phrases."""
    generation: int = 0
    """How many models of this id came before it in this process: other weights, other tokens."""

    @property
    def key(self) -> str:
        """Name of this one model within the process; clients know its `id` only."""
        return f"{self.id}@{self.generation}" if self.generation else self.id

    def geometry(self, chunk_frames: int) -> ChunkGeometry:
        """Return the chunk arithmetic of one of the model's look-aheads."""
        for context in self.buffered:
            if context.chunk_frames == chunk_frames:
                return BufferedGeometry(self.features, chunk_frames, context)
        return ChunkGeometry(self.features, chunk_frames)
